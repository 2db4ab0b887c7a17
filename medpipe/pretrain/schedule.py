"""The learning rate: one pure function of the tokens scheduled since the start of the curriculum."""

from __future__ import annotations

import math

from medpipe.pretrain.plan import STAGES, Plan, RateSegment, Shape


def stage_start(plan: Plan, stage: str) -> int:
    """Token positions scheduled before a stage begins, over all stages before it."""
    before = STAGES[: STAGES.index(stage)]
    return sum(plan.stage_steps(name) for name in before) * plan.tokens_per_step


def segment_fraction(segment: RateSegment, *, start: float, progress: float, warmup: float) -> float:
    """Fraction of the peak rate inside one stage.

    Args:
        segment: the stage's segment.
        start: fraction of the peak at the end of the stage before; not used by a warm-up.
        progress: share of the stage's tokens done, from 0 to 1.
        warmup: share of the stage's tokens that the warm-up takes.
    """
    match segment.shape:
        case Shape.WARMUP:
            return segment.to * min(1.0, progress / warmup) if warmup > 0 else segment.to
        case Shape.CONSTANT:
            return segment.to
        case Shape.LINEAR:
            return start + (segment.to - start) * progress
        case Shape.EXPONENTIAL:
            return 0.0 if start == 0 else start * (segment.to / start) ** progress
        case Shape.ONE_MINUS_SQRT:
            return segment.to + (start - segment.to) * (1.0 - math.sqrt(progress))


def stage_fraction(plan: Plan, stage: str, progress: float) -> float:
    """Fraction of the peak rate at a share (0 to 1) of one stage's tokens."""
    index = STAGES.index(stage)
    start = plan.stages[index - 1].learning_rate.to if index else 0.0
    segment = plan.stages[index].learning_rate
    tokens = plan.stage_steps(stage) * plan.tokens_per_step
    warmup = min(1.0, segment.warmup_tokens / tokens)
    return segment_fraction(segment, start=start, progress=progress, warmup=warmup)


def learning_rate(tokens: int, plan: Plan) -> float:
    """Learning rate after `tokens` token positions of the curriculum.

    Positions count as scheduled: the padding of a shard's last window is among them. Steps therefore lie
    on a fixed grid of `plan.tokens_per_step`, and the stages' borders lie on it too.

    Args:
        tokens: positions since the start of the first stage.
        plan: the plan.

    Returns:
        The rate; beyond the last stage, the rate that one ended with.

    Raises:
        ValueError: `tokens` is negative.
    """
    if tokens < 0:
        raise ValueError(f"tokens must not be negative, got {tokens}")
    done = tokens
    for stage in STAGES:
        length = plan.stage_steps(stage) * plan.tokens_per_step
        if done <= length:
            return plan.optimizer.peak_learning_rate * stage_fraction(plan, stage, done / length)
        done -= length
    return plan.optimizer.peak_learning_rate * plan.stages[-1].learning_rate.to


def step_learning_rate(step: int, plan: Plan) -> float:
    """Learning rate of the global optimizer step `step`, counted from 0.

    The rate is read in the middle of the step's tokens: over a linear piece the steps then sum to its
    exact integral, and neither the first step of a warm-up nor the last of a decay to zero is wasted.
    """
    return learning_rate(step * plan.tokens_per_step + plan.tokens_per_step // 2, plan)
