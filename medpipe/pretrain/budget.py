"""A plan with another token budget: the same curriculum, shorter or longer."""

from __future__ import annotations

from typing import Any

from medpipe.pretrain.plan import Plan, PlanError, RateSegment, WholeRunRate

_LENGTHS = ("warmup_tokens", "half_life_tokens")


def with_budget(values: dict[str, Any], plan: Plan, budget: int, *, origin: str) -> dict[str, Any]:
    """The values of a plan whose stages together have the tokens of a budget.

    Every length in tokens is scaled alike (stages, warm-up, half-life), so the course of the learning rate
    over the share of the run that is done stays as it was. The name gets the budget behind it: the other
    run has a folder, a registered model and an experiment of its own. A budget that is the plan's own changes
    nothing.

    Args:
        values: the plan as its file holds it; left as they are.
        plan: the same, checked.
        budget: tokens of all stages together.
        origin: names the plan in errors.

    Raises:
        PlanError: a stage would not have a single optimizer step, or an earlier run has trained some of them.
    """
    own = sum(stage.tokens for stage in plan.stages)
    if budget == own:
        return values
    if plan.start_from is not None and plan.start_from.model is None:
        raise PlanError(
            origin,
            [
                "a token budget scales all stages, and this plan takes some over from an earlier run; "
                "leave the budget out, or change the tokens of the later stages in the plan"
            ],
        )
    least = -(-plan.tokens_per_step * own // min(stage.tokens for stage in plan.stages))
    if budget < least:
        raise PlanError(
            origin,
            [
                f"a budget of {budget:,} tokens leaves a stage without a single optimizer step of "
                f"{plan.tokens_per_step:,} tokens; give at least {least:,}"
            ],
        )
    share = budget / own
    stages = []
    for given, stage in zip(values["stages"], plan.stages, strict=True):
        scaled = {**given, "tokens": round(stage.tokens * share)}
        if stage.learning_rate is not None:
            scaled["learning_rate"] = _scaled(given["learning_rate"], stage.learning_rate, share)
        stages.append(scaled)
    whole = (
        {}
        if plan.learning_rate is None
        else {"learning_rate": _scaled(values["learning_rate"], plan.learning_rate, share)}
    )
    return {**values, **whole, "name": f"{plan.name}-{budget}-tokens", "stages": stages}


def _scaled(given: dict[str, Any], rate: RateSegment | WholeRunRate, share: float) -> dict[str, Any]:
    """The rate with its lengths in tokens scaled; one that was a token at least stays so."""
    lengths = {name: getattr(rate, name, None) for name in _LENGTHS}
    return {**given, **{name: max(1, round(tokens * share)) for name, tokens in lengths.items() if tokens}}
