"""Turns a plan and a corpus snapshot into stages that can run, or refuses with every reason at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.pretrain import CODE_VERSION
from medpipe.pretrain.byte_windows import measure_digest
from medpipe.pretrain.corpus import (
    ShardInfo,
    TokenizerInfo,
    list_shards,
    of_split,
    tokenizer_differences,
    tokenizer_info,
)
from medpipe.pretrain.mixture import Component, components_of
from medpipe.pretrain.plan import STAGES, ModelShape, Plan, PlanError, StagePlan
from medpipe.pretrain.published_model import tokenizer_config
from medpipe.pretrain.rate_borders import rate_jumps
from medpipe.pretrain.schedule import stage_start, total_tokens
from medpipe.pretrain.start import Start, TakenStage, resolve_start
from medpipe.records.kinds import Split

if TYPE_CHECKING:
    from medpipe.tokens.snapshot import CorpusSnapshot

__all__ = ["CompiledPlan", "CompiledStage", "Component", "compile_plan", "compiled_or_problems"]


@dataclass(frozen=True, kw_only=True)
class CompiledStage:
    """One stage, ready to run."""

    name: str
    parent: str | None
    """Digest of the stage before; None for the first."""
    digest: str
    """Names everything that decides this stage's outcome, through the chain of its parents."""
    first_step: int
    """Global optimizer steps before this stage."""
    steps: int
    sequences_per_step: int
    sequence_length: int
    components: tuple[Component, ...]
    taken_from: str | None = None
    """Run folder below `runs/` of the earlier run that trained it; None where this plan trains it."""
    earlier: int = 0
    """Number, from 1, among the stages of this name where another one of it follows; 0 for the last."""

    @property
    def label(self) -> str:
        """Its name, with the number where another stage of the name follows: no two stages share it."""
        return f"{self.name} {self.earlier}" if self.earlier else self.name

    @property
    def samples(self) -> int:
        """Windows the stage reads."""
        return self.steps * self.sequences_per_step

    @property
    def tokens(self) -> int:
        """Token positions scheduled, the padding of last windows included."""
        return self.samples * self.sequence_length

    @property
    def shards(self) -> tuple[ShardInfo, ...]:
        """All shards of the stage, component by component."""
        return tuple(shard for component in self.components for shard in component.shards)


@dataclass(frozen=True, kw_only=True)
class CompiledPlan:
    """A plan that was checked against a corpus."""

    plan: Plan
    snapshot: str
    tokenizer: TokenizerInfo
    stages: tuple[CompiledStage, ...]
    validation: tuple[ShardInfo, ...]
    warnings: tuple[str, ...]
    """What a person should know although it stops nothing."""
    start: Start | None = None
    """The checkpoint it goes on from; None for fresh weights."""

    @property
    def shape(self) -> ModelShape:
        """Shape of the model: of the checkpoint it starts from, else the plan's."""
        shape = self.start.shape if self.start else self.plan.model
        if shape is None:
            raise AssertionError("a plan without a model has a start")
        return shape

    @property
    def vocabulary_size(self) -> int:
        """Rows of the embedding."""
        return self.start.vocabulary_size if self.start else self.tokenizer.vocabulary_size

    @property
    def validation_digest(self) -> str:
        """Digest of what bits per byte are measured on, and how."""
        return measure_digest([shard.key for shard in self.validation], self.plan.validation_tokens)

    def stage(self, label: str) -> CompiledStage:
        """The stage of this label; a plain name is that of the last stage that bears it.

        Raises:
            PlanError: there is none.
        """
        for stage in self.stages:
            if stage.label == label:
                return stage
        name = self.plan.stage(label).name
        gone = f"stage {name} is taken over from the run that start_from names, but its folder is gone; "
        fix = "bring it back, or materialise only the stages that this plan trains itself"
        raise PlanError(f"plan {self.plan.name}", [gone + fix])

    def parent(self, label: str) -> CompiledStage | None:
        """The stage before; None for the first."""
        index = self.stages.index(self.stage(label))
        return self.stages[index - 1] if index else None


def compile_plan(plan: Plan, snapshot: CorpusSnapshot, lake: Lake) -> CompiledPlan:
    """Checks a plan against a corpus and works out what each stage reads.

    Args:
        plan: the plan.
        snapshot: the corpus it trains on.
        lake: where the snapshot's shards lie; only manifests are read.

    Returns:
        Steps, components and digest of each stage.

    Raises:
        PlanError: a mixture entry matches nothing or overlaps another, a shard would be repeated more
            often than `maximum_epochs`, the learning rate jumps at a border, shards are missing or of
            another tokenizer, the tokenizer is not the one that the plan asks for, nothing is held out, or
            `start_from` names what cannot be gone on from. All reasons are listed.
        ManifestError: the snapshot's tokenizer is not in the lake.
    """
    compiled, problems = compiled_or_problems(plan, snapshot, lake)
    if compiled is None:
        raise PlanError(f"plan {plan.name} on snapshot {snapshot.name}", problems)
    return compiled


def compiled_or_problems(
    plan: Plan, snapshot: CorpusSnapshot, lake: Lake
) -> tuple[CompiledPlan | None, list[str]]:
    """As `compile_plan`, but returns the reasons against a plan instead of raising them."""
    tokenizer = tokenizer_info(lake, snapshot)
    shards, problems = list_shards(lake, snapshot)
    problems += tokenizer_differences(tokenizer, tokenizer_config(plan, lake))
    training, validation = of_split(shards, Split.TRAIN), of_split(shards, Split.VALIDATION)
    start, found = resolve_start(plan, lake, tokenizer)
    problems += [*found, *rate_jumps(plan, start)]
    if not validation:
        problems.append(
            "the snapshot holds no validation tokens, so no stage could be measured; "
            "curate with a larger held-out share and materialise the shards again"
        )
    first = STAGES.index(start.at) if start else 0
    stages = _taken_stages(start.taken, plan.stages[first:]) if start else []
    parent = stages[-1] if stages else None
    for stage_plan in plan.stages[first:]:
        components, found = components_of(plan, stage_plan, training)
        problems += found
        parent = compile_stage(plan, stage_plan, components, tokenizer, parent, start)
        stages.append(parent)
    problems += _repetition_problems(plan, stages, start)
    held_out = {shard.domain for shard in validation}
    unseen = sorted({shard.domain.value for shard in training if shard.domain not in held_out})
    if problems:
        return None, problems
    return CompiledPlan(
        plan=plan,
        snapshot=snapshot.name,
        tokenizer=tokenizer,
        stages=tuple(stages),
        validation=validation,
        warnings=(
            *(f"domain {domain} has no validation tokens and is not measured" for domain in unseen),
            *(warning for stage in stages for warning in _never_read(stage)),
        ),
        start=start,
    ), []


def _taken_stages(taken: Sequence[TakenStage], own: Sequence[StagePlan]) -> list[CompiledStage]:
    """The stages of earlier runs; `stable` that goes on from a stable checkpoint follows one of its name."""
    names = [stage.name for stage in taken]
    behind = [*names, *(stage.name for stage in own)]
    return [
        CompiledStage(
            name=stage.name,
            parent=stage.parent,
            digest=stage.digest,
            first_step=stage.first_step,
            steps=stage.steps,
            sequences_per_step=stage.sequences_per_step,
            sequence_length=stage.sequence_length,
            components=(),
            taken_from=stage.run,
            earlier=names[: place + 1].count(stage.name) if stage.name in behind[place + 1 :] else 0,
        )
        for place, stage in enumerate(taken)
    ]


def compile_stage(
    plan: Plan,
    stage: StagePlan,
    components: tuple[Component, ...],
    tokenizer: TokenizerInfo,
    before: CompiledStage | None,
    start: Start | None = None,
) -> CompiledStage:
    """One stage with its place in the chain; its digest names everything that decides what comes out."""
    starts_here = start is not None and start.at == stage.name
    parent, first_step = (before.digest, before.first_step + before.steps) if before else (None, 0)
    if start is not None and starts_here:
        parent, first_step = start.stage_digest, start.step
    shape = start.shape if start else plan.model
    fields: dict[str, Any] = {
        "code_version": CODE_VERSION,
        "parent": parent,
        "stage": stage.model_dump(mode="json"),
        "model": shape.model_dump(mode="json") if shape else None,
        "optimizer": plan.optimizer.model_dump(mode="json"),
        "sequence_length": plan.sequence_length,
        "sequences_per_step": plan.sequences_per_step,
        "precision": plan.precision.value,
        "tokenizer": tokenizer.digest,
        "shards": [[shard.key for shard in component.shards] for component in components],
    }
    # What follows came later. It is there only where it is used: other stages keep their digests.
    if start is not None and starts_here:
        fields["start_from"] = start.content
    if plan.learning_rate is not None:
        fields["learning_rate"] = plan.learning_rate.model_dump(mode="json")
        fields["learning_rate_over"] = [stage_start(plan, stage.name), total_tokens(plan)]
    if any(entry.replay for entry in stage.mixture):
        fields["shares"] = [component.samples for component in components]
    return CompiledStage(
        name=stage.name,
        parent=parent,
        digest=digest_value(fields),
        first_step=first_step,
        steps=plan.stage_steps(stage.name),
        sequences_per_step=plan.sequences_per_step,
        sequence_length=plan.sequence_length,
        components=components,
    )


def _never_read(stage: CompiledStage) -> list[str]:
    """Entries of a stage's mixture whose share comes to no window at all."""
    return [
        f"stage {stage.name}: '{part.label}' is never read, {part.share:.2%} of {stage.samples:,} samples "
        "come to none; raise its weight or the stage's tokens, or drop it"
        for part in stage.components
        if part.samples == 0
    ]


def epochs_by_source(stages: list[CompiledStage], start: Start | None = None) -> dict[str, dict[str, float]]:
    """Passes over the shards of each `domain/source (tier)`, by stage; those of an earlier run go first."""
    epochs: dict[str, dict[str, float]] = defaultdict(dict)
    before = start.read if start else {}
    for stage in stages:
        for component in stage.components:
            for shard in component.shards:
                key = f"{shard.domain.value}/{shard.source} ({shard.tier.value})"
                for name, passes in before.get(shard.key, {}).items():
                    epochs[key][name] = max(passes, epochs[key].get(name, 0.0))
                epochs[key][stage.name] = component.epochs
    return dict(epochs)


def _repetition_problems(plan: Plan, stages: list[CompiledStage], start: Start | None) -> list[str]:
    problems = []
    for source, by_stage in epochs_by_source(stages, start).items():
        if (total := sum(by_stage.values())) > plan.maximum_epochs:
            parts = ", ".join(f"{stage} {epochs:.2f}" for stage, epochs in by_stage.items())
            problems.append(
                f"{source} has too few tokens: it would be read {total:.2f} times ({parts}), maximum_epochs "
                f"is {plan.maximum_epochs:g}; lower its weight or the stages' tokens, add sources to its "
                "domain, or raise maximum_epochs"
            )
    return problems
