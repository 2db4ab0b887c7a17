"""The learning rate at the borders of stages: it must not jump, nor where an earlier run is gone on from."""

from __future__ import annotations

from medpipe.pretrain.plan import Plan
from medpipe.pretrain.schedule import stage_fraction, stage_tokens
from medpipe.pretrain.start import Start

RATE_TOLERANCE = 1e-12
"""Largest jump of the learning rate at a border, as a fraction of the peak."""


def _exactly(value: float) -> str:
    """The digits that read back as the same number: a border has to agree to the twelfth."""
    return repr(value).removesuffix(".0")


def rate_jumps(plan: Plan, start: Start | None = None) -> list[str]:
    """Borders at which the learning rate would jump, each with the fix."""
    problems = []
    for before, after in zip(plan.stages, plan.stages[1:], strict=False):
        end = stage_fraction(plan, before.name, stage_tokens(plan, before.name))
        begin = stage_fraction(plan, after.name, 0)
        if abs(end - begin) > RATE_TOLERANCE:
            problems.append(
                f"the learning rate jumps from {_exactly(end)} to {_exactly(begin)} of the peak between "
                f"{before.name} and {after.name}; set learning_rate.to of {after.name} to {_exactly(end)} or "
                "choose another shape"
            )
    if start is not None and start.rate is not None:
        peak = plan.optimizer.peak_learning_rate
        begin = peak * stage_fraction(plan, start.at, 0)
        if abs(start.rate - begin) > RATE_TOLERANCE * peak:
            problems.append(
                f"the learning rate jumps from {_exactly(start.rate)}, which the earlier run had reached, to "
                f"{_exactly(begin)} at the start of {start.at}; keep its peak_learning_rate and the segments "
                f"before {start.at}, or start from an earlier checkpoint"
            )
    return problems
