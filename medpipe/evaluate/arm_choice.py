"""Which arms a corpus allows, and all of them compiled with every seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.arm_trunk import check_equal_trunk
from medpipe.evaluate.arms import DECAY, Arm, check_comparable, derive
from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan, compile_plan, epochs_by_source
from medpipe.pretrain.corpus import ShardInfo, list_shards, of_split
from medpipe.pretrain.plan import PlanError
from medpipe.records.kinds import Split
from medpipe.tokens.snapshot import CorpusSnapshot

_NO_CAP = 1e12
"""Passes that no arm makes."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which arms can be had, known before anything is trained."""

    names: tuple[ArmName, ...]
    """In the order of `ArmName`; the curriculum is always there."""
    left_out: dict[ArmName, str]
    """Why the others are not."""
    epochs: dict[ArmName, float]
    """Most passes over any source, all four stages together."""


def choose_arms(
    compiled: CompiledPlan,
    wanted: Sequence[ArmName],
    *,
    snapshot: CorpusSnapshot,
    lake: Lake,
    maximum_epochs: float | None = None,
) -> Choice:
    """Looks which arms the corpus allows; needs no checkpoint.

    Args:
        compiled: the curriculum.
        wanted: the arms beside it.
        snapshot: the corpus.
        lake: where it lies.
        maximum_epochs: another cap on repetition than the plan's.

    Raises:
        PlanError: the plan cannot be compared, or the curriculum or the control repeats a source more often
            than is allowed, or no arm is left to compare with. Other arms of which that is true are left out,
            and those that read the curriculum's own data.
    """
    check_comparable(compiled)
    cap = compiled.plan.maximum_epochs if maximum_epochs is None else maximum_epochs
    training = _training_shards(snapshot, lake)
    epochs: dict[ArmName, float] = {}
    left_out: dict[ArmName, str] = {}
    own: CompiledPlan | None = None
    for name in ArmName:
        if name is not ArmName.CURRICULUM and name not in wanted:
            continue
        try:
            if name is ArmName.COSINE:
                check_equal_trunk(compiled)
            whole = _compiled(compiled, name, training, snapshot=snapshot, lake=lake)
            if own is not None and name is not ArmName.COSINE and _same_data(own, whole):
                left_out[name] = "it reads the same data as the curriculum: nothing to compare"
                continue
            own = own or whole
            epochs[name] = _epochs_within(cap, name, whole)
        except PlanError as error:
            if name in (ArmName.CURRICULUM, ArmName.CONTROL):
                raise
            left_out[name] = "; ".join(error.problems)
    if len(epochs) == 1:
        raise PlanError(
            f"plan {compiled.plan.name} has nothing to be compared with",
            [f"{name.value}: {reason}" for name, reason in left_out.items()]
            or ["only the curriculum itself was asked for; name another arm with --against"],
        )
    return Choice(names=tuple(epochs), left_out=left_out, epochs=epochs)


def _compiled(
    compiled: CompiledPlan,
    name: ArmName,
    training: Sequence[ShardInfo],
    *,
    snapshot: CorpusSnapshot,
    lake: Lake,
) -> CompiledPlan:
    """An arm over all its stages, with no cap on repetition and before any checkpoint is there."""
    plan = derive(compiled, name, seed=compiled.plan.seed, training=training, lake=lake)
    if name is not ArmName.COSINE:
        # From the plan's own beginning: the stages before the stable checkpoint are counted, trained or not.
        plan = plan.model_copy(update={"start_from": compiled.plan.start_from})
    return compile_plan(plan.model_copy(update={"maximum_epochs": _NO_CAP}), snapshot, lake)


def _same_data(one: CompiledPlan, other: CompiledPlan) -> bool:
    """Whether two arms read as many windows of the same shards in every stage of the decay."""

    def read(compiled: CompiledPlan, stage: str) -> Counter[frozenset[str]]:
        windows: Counter[frozenset[str]] = Counter()
        for component in compiled.stage(stage).components:
            windows[frozenset(shard.key for shard in component.shards)] += component.samples
        return windows

    return all(read(one, stage) == read(other, stage) for stage in DECAY)


def _epochs_within(cap: float, name: ArmName, whole: CompiledPlan) -> float:
    """Most passes of an arm; refused with the option that trains it all the same."""
    by_source = epochs_by_source(list(whole.stages), whole.start)
    source, epochs = max(
        ((source, sum(passes.values())) for source, passes in by_source.items()), key=lambda pair: pair[1]
    )
    if epochs > cap:
        needed = math.ceil(10 * epochs) / 10
        raise PlanError(
            f"the arm '{name.value}' (plan {whole.plan.name})",
            [
                f"it would read {source} {epochs:.2f} times, {cap:g} are allowed; take a larger corpus or "
                f"smaller stages, or train it all the same with --maximum-epochs {needed:g}"
            ],
        )
    return epochs


def compile_arms(
    compiled: CompiledPlan,
    choice: Choice,
    *,
    seeds: int,
    snapshot: CorpusSnapshot,
    lake: Lake,
    maximum_epochs: float | None = None,
) -> list[Arm]:
    """Compiles every arm with every seed, all arms of one seed after another; the stable stage is complete.

    The seeds count up from the plan's.

    Raises:
        PlanError: the stable checkpoint is not there, or cannot be gone on from.
    """
    training = _training_shards(snapshot, lake)
    arms = []
    for seed in range(compiled.plan.seed, compiled.plan.seed + seeds):
        for name in choice.names:
            plan = derive(compiled, name, seed=seed, training=training, lake=lake)
            if maximum_epochs is not None:
                plan = plan.model_copy(update={"maximum_epochs": maximum_epochs})
            arms.append(Arm(name=name, seed=seed, compiled=compile_plan(plan, snapshot, lake)))
    return arms


def _training_shards(snapshot: CorpusSnapshot, lake: Lake) -> tuple[ShardInfo, ...]:
    return of_split(list_shards(lake, snapshot)[0], Split.TRAIN)
