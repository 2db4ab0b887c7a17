"""The arms that a curriculum is compared with: plans derived from its own, each legal by itself.

All arms but `cosine` go on from one stable checkpoint, with its moments, over the same tokens and learning
rate; they differ in nothing but the data of anneal and converge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.union import union_mixture
from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.corpus import ShardInfo
from medpipe.pretrain.plan import (
    STAGES,
    MixtureEntry,
    Plan,
    PlanError,
    Shape,
    StagePlan,
    StartFrom,
    WholeRunRate,
)
from medpipe.pretrain.result import stage_run_folder
from medpipe.pretrain.schedule import stage_fraction, stage_tokens
from medpipe.records.kinds import Domain

TRUNK = STAGES[:2]
"""The stages that the arms have in common."""
DECAY = STAGES[2:]
"""The stages in which they differ."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm with one seed."""

    name: ArmName
    seed: int
    compiled: CompiledPlan

    @property
    def plan(self) -> Plan:
        """The derived plan; its name is the folder of its runs."""
        return self.compiled.plan

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it trains."""
        return tuple(stage.name for stage in self.compiled.stages if stage.taken_from is None)


def check_comparable(compiled: CompiledPlan) -> None:
    """Refuses a plan that has no stable checkpoint for the arms to start from.

    Raises:
        PlanError: it has one learning rate over the whole run, or begins behind anneal.
    """
    problems = []
    if compiled.plan.learning_rate is not None:
        problems.append(
            "one learning rate runs over all stages, so there is no checkpoint at the peak rate that arms "
            "could share; give each stage its own learning_rate"
        )
    if compiled.start is not None and STAGES.index(compiled.start.at) > STAGES.index(DECAY[0]):
        problems.append(
            f"it begins at {compiled.start.at}, and the arms at {DECAY[0]}; set start_from.at to {DECAY[0]}"
        )
    if problems:
        raise PlanError(f"plan {compiled.plan.name} cannot be compared", problems)


def derive(
    compiled: CompiledPlan,
    name: ArmName,
    *,
    seed: int,
    training: Sequence[ShardInfo],
    lake: Lake,
) -> Plan:
    """The plan of one arm.

    Args:
        compiled: the curriculum.
        name: the arm.
        seed: of its data order; for `cosine` of fresh initial weights, too.
        training: all training shards of the snapshot.
        lake: where the curriculum's runs lie.

    Raises:
        PlanError: the arm would have no data.
    """
    plan = compiled.plan
    update: dict[str, object] = {"name": f"{plan.name}-verdict-{name.value}", "seed": seed}
    if name is ArmName.COSINE:
        update |= _whole_run(compiled, training)
    else:
        update |= {
            "start_from": _stable_checkpoint(compiled, lake),
            "stages": _decay_stages(plan, name, training),
        }
    # Through plain values, so that a derived plan is checked like one from a file.
    return Plan.model_validate(plan.model_copy(update=update).model_dump(mode="json", exclude_unset=True))


def _stable_checkpoint(compiled: CompiledPlan, lake: Lake) -> StartFrom:
    """Where the curriculum itself begins to decay."""
    start, given = compiled.start, compiled.plan.start_from
    if start is not None and given is not None and start.at == DECAY[0]:
        return given
    folder = stage_run_folder(lake, compiled, TRUNK[-1])
    return StartFrom(run=f"{folder.parent.name}/{folder.name}", stage=TRUNK[-1], at=DECAY[0])


def _decay_stages(plan: Plan, name: ArmName, training: Sequence[ShardInfo]) -> tuple[StagePlan, ...]:
    def mixture(stage: StagePlan) -> tuple[MixtureEntry, ...]:
        match name:
            case ArmName.CONTROL:
                return plan.stage(TRUNK[-1]).mixture
            case ArmName.SHUFFLED:
                return union_mixture(plan, DECAY, training)
            case ArmName.NO_REPLAY:
                return _without_replay(plan, stage)
            case _:
                return stage.mixture

    return tuple(
        stage.model_copy(update={"mixture": mixture(stage)}) if stage.name in DECAY else stage
        for stage in plan.stages
    )


def _without_replay(plan: Plan, stage: StagePlan) -> tuple[MixtureEntry, ...]:
    kept = tuple(e for e in stage.mixture if e.replay is None and e.domain is not Domain.GENERAL)
    if not kept:
        raise PlanError(f"plan {plan.name}", [f"stage {stage.name} reads nothing but replay"])
    return kept


def _whole_run(compiled: CompiledPlan, training: Sequence[ShardInfo]) -> dict[str, object]:
    """All data in all stages, one cosine with the plan's warm-up down to the plan's last rate."""
    plan = compiled.plan
    mixture = union_mixture(plan, STAGES, training)
    first = plan.stages[0].learning_rate
    is_warmup = first is not None and first.shape is Shape.WARMUP
    last = STAGES[-1]
    update: dict[str, object] = {
        "learning_rate": WholeRunRate(
            shape="cosine",
            warmup_tokens=first.warmup_tokens if first is not None and is_warmup else 0,
            to=stage_fraction(plan, last, stage_tokens(plan, last)),
        ),
        "stages": tuple(
            StagePlan(name=stage.name, tokens=stage.tokens, mixture=mixture) for stage in plan.stages
        ),
    }
    if plan.start_from is not None and plan.start_from.model is None:
        # A refresh of a run from fresh weights: others are left out (`arm_trunk`).
        update |= {"start_from": None, "model": compiled.shape}
    return update
