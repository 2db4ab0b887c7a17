"""What the arms stand on: the steps and tokens before their common checkpoint, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.plan import STAGES, PlanError
from medpipe.pretrain.schedule import stage_start


@dataclass(frozen=True, kw_only=True)
class Part:
    """Optimizer steps of one size."""

    steps: int
    tokens_per_step: int


def earlier_parts(compiled: CompiledPlan) -> tuple[Part, ...]:
    """What an earlier run trained before the plan goes on from it; nothing where there is none."""
    behind = compiled.start.behind if compiled.start is not None else ()
    return tuple(
        Part(steps=stage.steps, tokens_per_step=stage.sequences_per_step * stage.sequence_length)
        for stage in behind
        if stage.steps
    )


def earlier_run(compiled: CompiledPlan) -> str | None:
    """The earlier run that the plan goes on from, for a person; None where there is none."""
    start = compiled.start
    return None if start is None or start.is_published else f"{start.run} on snapshot {start.snapshot}"


def trained_tokens(compiled: CompiledPlan) -> int:
    """Token positions of the whole chain: the earlier run's, as it trained them, and the plan's own."""
    own = sum(stage.tokens for stage in compiled.stages if stage.taken_from is None)
    return own + sum(part.steps * part.tokens_per_step for part in earlier_parts(compiled))


def check_equal_trunk(compiled: CompiledPlan) -> None:
    """Refuses a run from the first step on beside arms that stand on another number of steps or tokens.

    Such a run is sized by the plan. An earlier run may have had other budgets or another batch, or
    the plan may go on from a checkpoint within a stage.

    Raises:
        PlanError: what the arms stand on is not what the plan schedules there.
    """
    start, plan = compiled.start, compiled.plan
    if start is None or start.is_published:
        return
    if start.begun_published:
        reason = (
            "the run that start_from names began with a published model, and fresh weights are not comparable"
        )
        raise PlanError(f"plan {plan.name}", [reason])
    parts, planned = earlier_parts(compiled), stage_start(plan, start.at)
    steps = sum(plan.stage_steps(name) for name in STAGES[: STAGES.index(start.at)])
    trained = sum(part.steps * part.tokens_per_step for part in parts)
    if sum(part.steps for part in parts) != start.step:
        reason = (
            f"how many tokens lie behind step {start.step:,} of {start.run} is unknown: run folders "
            "before it are gone"
        )
        raise PlanError(f"plan {plan.name}", [reason])
    if (start.step, trained) != (steps, planned) or any(
        part.tokens_per_step != plan.tokens_per_step for part in parts
    ):
        raise PlanError(
            f"plan {plan.name}",
            [
                f"the other arms stand on {start.step:,} steps and {trained:,} tokens of {start.run}, the "
                f"plan schedules {steps:,} steps and {planned:,} tokens before {start.at}: tokens would "
                f"not be equal; give the stages before {start.at} the earlier run's tokens and batch"
            ],
        )
