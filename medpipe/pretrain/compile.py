"""Turns a plan and a corpus snapshot into stages that can run, or refuses with every reason at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.pretrain import CODE_VERSION
from medpipe.pretrain.corpus import ShardInfo, TokenizerInfo, list_shards, of_split, tokenizer_info
from medpipe.pretrain.plan import STAGES, MixtureEntry, Plan, PlanError, StagePlan
from medpipe.pretrain.schedule import stage_fraction
from medpipe.pretrain.stream import allocate, window_count
from medpipe.records.kinds import Split

if TYPE_CHECKING:
    from medpipe.tokens.snapshot import CorpusSnapshot


RATE_TOLERANCE = 1e-12
"""Largest jump of the learning rate at a border, as a fraction of the peak."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A mixture entry with the shards that matched it."""

    label: str
    share: float
    """Share of the stage's samples that the plan asks for."""
    samples: int
    """Samples of the stage."""
    shards: tuple[ShardInfo, ...]
    windows: int
    """Samples of one epoch."""

    @property
    def epochs(self) -> float:
        """Passes over the shards in this stage."""
        return self.samples / self.windows

    @property
    def tokens(self) -> int:
        """Training tokens of one epoch."""
        return sum(shard.tokens for shard in self.shards)


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

    @property
    def validation_digest(self) -> str:
        """Digest of what bits per byte are measured on."""
        return digest_value([[shard.key for shard in self.validation], self.plan.validation_tokens])

    def stage(self, name: str) -> CompiledStage:
        """The stage of this name.

        Raises:
            PlanError: there is none.
        """
        self.plan.stage(name)
        return self.stages[STAGES.index(name)]

    def parent(self, name: str) -> CompiledStage | None:
        """The stage before; None for the first."""
        index = STAGES.index(name)
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
            another tokenizer, or nothing is held out. All reasons are listed.
        ManifestError: the snapshot's tokenizer is not in the lake.
    """
    tokenizer = tokenizer_info(lake, snapshot)
    shards, problems = list_shards(lake, snapshot)
    training, validation = of_split(shards, Split.TRAIN), of_split(shards, Split.VALIDATION)
    problems += rate_jumps(plan)
    if not validation:
        problems.append(
            "the snapshot holds no validation tokens, so no stage could be measured; "
            "curate with a larger held-out share and materialise the shards again"
        )
    stages: list[CompiledStage] = []
    for stage_plan in plan.stages:
        components, found = _components(plan, stage_plan, training)
        problems += found
        stages.append(_compile_stage(plan, stage_plan, components, tokenizer, stages[-1] if stages else None))
    problems += _repetition_problems(plan, stages)
    if problems:
        raise PlanError(f"plan {plan.name} on snapshot {snapshot.name}", problems)
    held_out = {shard.domain for shard in validation}
    unseen = sorted({shard.domain.value for shard in training if shard.domain not in held_out})
    return CompiledPlan(
        plan=plan,
        snapshot=snapshot.name,
        tokenizer=tokenizer,
        stages=tuple(stages),
        validation=validation,
        warnings=tuple(f"domain {domain} has no validation tokens and is not measured" for domain in unseen),
    )


def rate_jumps(plan: Plan) -> list[str]:
    """Borders at which the learning rate would jump, each with the fix."""
    problems = []
    for before, after in zip(plan.stages, plan.stages[1:], strict=False):
        end, start = stage_fraction(plan, before.name, 1.0), stage_fraction(plan, after.name, 0.0)
        if abs(end - start) > RATE_TOLERANCE:
            problems.append(
                f"the learning rate jumps from {end:g} to {start:g} of the peak between {before.name} and "
                f"{after.name}; set learning_rate.to of {after.name} to {end:g} or choose another shape"
            )
    return problems


def _components(
    plan: Plan, stage: StagePlan, training: tuple[ShardInfo, ...]
) -> tuple[tuple[Component, ...], list[str]]:
    problems: list[str] = []
    matched: list[tuple[MixtureEntry, tuple[ShardInfo, ...]]] = []
    taken: dict[str, str] = {}
    for entry in stage.mixture:
        shards = tuple(shard for shard in training if shard.matches(entry))
        if not shards:
            problems.append(_nothing_matches(stage.name, entry, training))
            continue
        for shard in shards:
            other = taken.setdefault(shard.key, entry.label)
            if other != entry.label or any(e.label == entry.label for e, _ in matched):
                problems.append(
                    f"stage {stage.name}: {shard.key} is matched by both '{other}' and '{entry.label}'; "
                    "narrow one of them by source or tier"
                )
                break
        matched.append((entry, shards))
    weights = [entry.weight for entry, _ in matched]
    samples = allocate(plan.stage_steps(stage.name) * plan.sequences_per_step, weights)
    components = tuple(
        Component(
            label=entry.label,
            share=entry.weight / sum(weights),
            samples=count,
            shards=shards,
            windows=sum(window_count(shard.tokens, plan.sequence_length) for shard in shards),
        )
        for (entry, shards), count in zip(matched, samples, strict=True)
    )
    return components, problems


def _nothing_matches(stage: str, entry: MixtureEntry, training: tuple[ShardInfo, ...]) -> str:
    of_domain = sorted({(s.source, s.tier.value) for s in training if s.domain == entry.domain})
    if of_domain:
        known = ", ".join(f"{source} ({tier})" for source, tier in of_domain)
        fix = f"the snapshot has these sources of that domain: {known}"
    else:
        domains = ", ".join(sorted({shard.domain.value for shard in training})) or "none"
        fix = f"the snapshot has training tokens in these domains only: {domains}; enable a source or drop it"
    return f"stage {stage}: no training shard matches '{entry.label}'; {fix}"


def _compile_stage(
    plan: Plan,
    stage: StagePlan,
    components: tuple[Component, ...],
    tokenizer: TokenizerInfo,
    parent: CompiledStage | None,
) -> CompiledStage:
    fields: dict[str, Any] = {
        "code_version": CODE_VERSION,
        "parent": parent.digest if parent else None,
        "stage": stage.model_dump(mode="json"),
        "model": plan.model.model_dump(mode="json"),
        "optimizer": plan.optimizer.model_dump(mode="json"),
        "sequence_length": plan.sequence_length,
        "sequences_per_step": plan.sequences_per_step,
        "precision": plan.precision.value,
        "tokenizer": tokenizer.digest,
        "shards": [[shard.key for shard in component.shards] for component in components],
    }
    return CompiledStage(
        name=stage.name,
        parent=parent.digest if parent else None,
        digest=digest_value(fields),
        first_step=parent.first_step + parent.steps if parent else 0,
        steps=plan.stage_steps(stage.name),
        sequences_per_step=plan.sequences_per_step,
        sequence_length=plan.sequence_length,
        components=components,
    )


def epochs_by_source(stages: list[CompiledStage]) -> dict[str, dict[str, float]]:
    """Passes over the shards of each `domain/source (tier)`, by stage."""
    epochs: dict[str, dict[str, float]] = defaultdict(dict)
    for stage in stages:
        for component in stage.components:
            for shard in component.shards:
                key = f"{shard.domain.value}/{shard.source} ({shard.tier.value})"
                epochs[key][stage.name] = component.epochs
    return dict(epochs)


def _repetition_problems(plan: Plan, stages: list[CompiledStage]) -> list[str]:
    problems = []
    for source, by_stage in epochs_by_source(stages).items():
        total = sum(by_stage.values())
        if total > plan.maximum_epochs:
            parts = ", ".join(f"{stage} {epochs:.2f}" for stage, epochs in by_stage.items())
            problems.append(
                f"{source} has too few tokens: it would be read {total:.2f} times ({parts}), maximum_epochs "
                f"is {plan.maximum_epochs:g}; lower its weight or the stages' tokens, add sources to its "
                "domain, or raise maximum_epochs"
            )
    return problems
