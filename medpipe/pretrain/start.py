"""Where a plan's first weights come from: a published model, or the checkpoint of an earlier run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Manifest, ManifestError, read_manifest
from medpipe.pretrain.corpus import TokenizerInfo
from medpipe.pretrain.earlier_run import StartError, chain_of, named_checkpoint
from medpipe.pretrain.plan import STAGES, ModelShape, Plan, PlanError, StageName, StartFrom
from medpipe.pretrain.published_model import PublishedModelError, model_shape, read_published_model
from medpipe.pretrain.run_folder import STAGE
from medpipe.pretrain.schedule import stage_fraction
from medpipe.pretrain.stage_facts import StageFacts, StageFactsError, read_stage

_STEPS = ("first_step", "steps", "sequences_per_step", "sequence_length")


@dataclass(frozen=True, kw_only=True)
class TakenStage:
    """A stage that an earlier run trained and this plan takes over."""

    name: str
    digest: str
    parent: str | None
    run: str
    """Its run folder below `runs/`: `<curriculum>/<stage digest>-<seed>`."""
    first_step: int
    steps: int
    sequences_per_step: int
    sequence_length: int


@dataclass(frozen=True, kw_only=True)
class Start:
    """The checkpoint that a plan goes on from."""

    at: StageName
    """First stage of the plan that is trained."""
    folder: Path
    """Holds config.json and the weights as safetensors."""
    content: str
    """Digest of the files in it that decide what comes out."""
    shape: ModelShape
    vocabulary_size: int
    """Rows of the embedding."""
    is_published: bool
    """Weights only; else moments, step and counts of an earlier run come along."""
    run: str | None = None
    """Run folder below `runs/` that it was written in: `<curriculum>/<stage digest>-<seed>`."""
    stage_name: str | None = None
    """Stage of the earlier run that wrote it."""
    stage_digest: str | None = None
    """Digest of that stage."""
    snapshot: str | None = None
    """Corpus snapshot that the earlier run read there."""
    step: int = 0
    """Global optimizer steps behind it."""
    rate: float | None = None
    """Learning rate that the earlier run had reached there."""
    taken: tuple[TakenStage, ...] = ()
    """All stages that the earlier run and those before it trained up to here, as far as their folders are
    there."""
    behind: tuple[TakenStage, ...] = ()
    """The same with the `steps` that lie on the way to the checkpoint."""
    begun_published: bool = False
    """Whether the earlier run itself began with published weights."""
    read: dict[str, dict[str, float]] = field(default_factory=dict)
    """Passes that the earlier run has made over each shard, by the shard's key and what made them."""


def resolve_start(plan: Plan, lake: Lake, tokenizer: TokenizerInfo) -> tuple[Start | None, list[str]]:
    """Finds what a plan's `start_from` names; nothing is downloaded.

    Args:
        plan: the plan.
        lake: where runs and fetched models lie.
        tokenizer: the tokenizer of the corpus that the plan trains on.

    Returns:
        The start (None for fresh weights, or where it cannot be used), and every reason against it.
    """
    if plan.start_from is None:
        return None, []
    try:
        if plan.start_from.model is not None:
            start, problems = _published(plan, plan.start_from, lake, tokenizer)
        else:
            start, problems = _earlier_run(plan.start_from, lake, tokenizer)
    except (StartError, StageFactsError, PublishedModelError) as error:
        return None, [f"start_from: {error}"]
    problems += _shape_problems(plan, start)
    return start, [f"start_from: {problem}" for problem in problems]


def first_trained_stage(plan: Plan, lake: Lake) -> StageName:
    """The first stage that a plan trains itself; no corpus is needed to know it.

    Raises:
        PlanError: `start_from` names no run that can be gone on from.
    """
    start = plan.start_from
    if start is None or start.model is not None:
        return STAGES[0]
    try:
        return _first_trained(start, read_stage(named_checkpoint(start, lake)[0]))
    except (StartError, StageFactsError) as error:
        raise PlanError(f"plan {plan.name}", [f"start_from: {error}"]) from None


def _shape_problems(plan: Plan, start: Start) -> Iterable[str]:
    if plan.sequence_length > start.shape.max_position:
        yield (
            f"sequence_length {plan.sequence_length} is longer than the {start.shape.max_position} positions "
            "of the model; shorten it"
        )
    if plan.model is not None and plan.model != start.shape:
        theirs, ours = start.shape.model_dump(), plan.model.model_dump()
        differing = [f"{k} {ours.get(k)} (there {theirs.get(k)})" for k in theirs | ours if
                     ours.get(k) != theirs.get(k)]  # fmt: skip
        yield f"model differs from the checkpoint in {', '.join(differing)}; leave model out, or start afresh"


def _published(plan: Plan, start: StartFrom, lake: Lake, tokenizer: TokenizerInfo) -> tuple[Start, list[str]]:
    found, problems = read_published_model(start, lake, config=plan.tokenizer, tokenizer=tokenizer)
    return (
        Start(
            at=STAGES[0],
            folder=found.folder,
            content=found.content,
            shape=found.shape,
            vocabulary_size=found.vocabulary_size,
            is_published=True,
        ),
        problems,
    )


def _earlier_run(start: StartFrom, lake: Lake, tokenizer: TokenizerInfo) -> tuple[Start, list[str]]:
    folder, checkpoint = named_checkpoint(start, lake)
    stage = read_stage(folder)
    try:
        manifest = read_manifest(checkpoint)
    except ManifestError as error:
        raise StartError(f"{checkpoint} is no checkpoint ({error})") from None
    if manifest.recipe.inputs.get("stage") != stage.digest:
        raise StartError(f"{checkpoint} was not written by the stage of {folder / STAGE}; name another one")
    problems = []
    trained_with = manifest.recipe.inputs.get("tokenizer")
    if trained_with != tokenizer.digest:
        problems.append(
            f"{checkpoint} was trained with tokenizer {trained_with}, the snapshot has {tokenizer.digest}; a "
            "refresh keeps the tokenizer: materialise the shards with the earlier one"
        )
    step, chain = _step_of(manifest, checkpoint), chain_of(folder, stage)
    shape, vocabulary_size = model_shape(checkpoint)
    return (
        Start(
            at=_first_trained(start, stage),
            folder=checkpoint,
            content=manifest.digest,
            shape=shape,
            vocabulary_size=vocabulary_size,
            is_published=False,
            run=f"{folder.parent.name}/{folder.name}",
            stage_name=stage.stage,
            stage_digest=stage.digest,
            snapshot=stage.snapshot,
            step=step,
            rate=_rate_at(stage, step, folder),
            taken=tuple(_taken(path, facts) for path, facts in chain),
            behind=_behind(chain, step),
            begun_published=chain[0][1].start_from is not None and chain[0][1].parent_run is None,
            read=_epochs_read(chain, step),
        ),
        problems,
    )


def _first_trained(start: StartFrom, stage: StageFacts) -> StageName:
    position = STAGES.index(stage.stage)
    at: StageName | None = start.at or (STAGES[position + 1] if position + 1 < len(STAGES) else None)
    if at is None or STAGES.index(at) > position + 1:
        raise StartError(
            f"the checkpoint is of stage {stage.stage}; set `at` to one of "
            f"{', '.join(STAGES[: position + 2])}"
        )
    return at


def _step_of(manifest: Manifest, checkpoint: Path) -> int:
    step = manifest.facts.get("step")
    if not isinstance(step, int):
        raise StartError(f"the manifest of {checkpoint} names no step; name another checkpoint")
    return step


def _rate_at(stage: StageFacts, step: int, folder: Path) -> float:
    """Learning rate of an earlier run after a global step of one of its stages."""
    try:
        plan = Plan.model_validate(stage.plan)
    except ValidationError as error:
        raise StartError(
            f"the plan in {folder / STAGE} cannot be read ({error.error_count()} mistakes)"
        ) from None
    tokens = (step - stage.first_step) * plan.tokens_per_step
    return plan.optimizer.peak_learning_rate * stage_fraction(plan, stage.stage, tokens)


def _taken(folder: Path, stage: StageFacts) -> TakenStage:
    facts = {name: getattr(stage, name) for name in _STEPS}
    run = f"{folder.parent.name}/{folder.name}"
    return TakenStage(name=stage.stage, digest=stage.digest, parent=stage.parent, run=run, **facts)


def _behind(chain: list[tuple[Path, StageFacts]], step: int) -> tuple[TakenStage, ...]:
    """The stages of a chain with the steps that lie on the way to a global step."""
    stages = [_taken(folder, facts) for folder, facts in chain]
    ends = [*(stage.first_step for stage in stages[1:]), step]
    return tuple(
        replace(stage, steps=min(stage.steps, end - stage.first_step))
        for stage, end in zip(stages, ends, strict=True)
    )


def _epochs_read(chain: list[tuple[Path, StageFacts]], step: int) -> dict[str, dict[str, float]]:
    """Passes over each shard in the stages of a chain, the last one up to a global step."""
    read: dict[str, dict[str, float]] = {}
    for _, stage in chain:
        done = min(1.0, (step - stage.first_step) / stage.steps)
        for component in stage.components:
            for key in component.shards:
                passes = read.setdefault(key, {})
                name = f"{stage.stage} of the earlier run"
                passes[name] = passes.get(name, 0.0) + done * component.epochs
    return read
