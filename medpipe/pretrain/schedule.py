"""The learning rate: one pure function of the tokens scheduled since the start of the curriculum."""

from __future__ import annotations

import math

from medpipe.pretrain.plan import STAGES, Plan, RateSegment, Shape, WholeRunRate


def stage_tokens(plan: Plan, stage: str) -> int:
    """Token positions that a stage schedules: whole optimizer steps."""
    return plan.stage_steps(stage) * plan.tokens_per_step


def stage_start(plan: Plan, stage: str) -> int:
    """Token positions scheduled before a stage begins, over all stages before it."""
    return sum(stage_tokens(plan, name) for name in STAGES[: STAGES.index(stage)])


def total_tokens(plan: Plan) -> int:
    """Token positions of the whole curriculum."""
    return sum(stage_tokens(plan, name) for name in STAGES)


def segment_end(segment: RateSegment, *, start: float, tokens: int) -> float:
    """Fraction of the peak rate at the end of a stage.

    Args:
        segment: the stage's segment.
        start: fraction of the peak at the end of the stage before.
        tokens: token positions of the stage.
    """
    if segment.half_life_tokens is None:
        return segment.to
    return float(start * 2.0 ** (-tokens / segment.half_life_tokens))


def segment_fraction(
    segment: RateSegment, *, start: float, end: float, progress: float, warmup: float
) -> float:
    """Fraction of the peak rate inside one stage.

    Args:
        segment: the stage's segment.
        start: fraction of the peak at the end of the stage before; not used by a warm-up.
        end: fraction of the peak at the end of this stage, from `segment_end`.
        progress: share of the stage's tokens done, from 0 to 1.
        warmup: share of the stage's tokens that the warm-up takes.
    """
    match segment.shape:
        case Shape.WARMUP:
            return end * min(1.0, progress / warmup) if warmup > 0 else end
        case Shape.CONSTANT:
            return end
        case Shape.LINEAR:
            return start + (end - start) * progress
        case Shape.EXPONENTIAL:
            return 0.0 if start == 0 else start * (end / start) ** progress
        case Shape.ONE_MINUS_SQRT:
            return end + (start - end) * (1.0 - math.sqrt(progress))


def cosine_fraction(rate: WholeRunRate, *, tokens: int, total: int) -> float:
    """Fraction of the peak rate of a whole-run cosine after `tokens` of `total` positions."""
    if tokens < rate.warmup_tokens:
        return tokens / rate.warmup_tokens
    progress = min(1.0, (tokens - rate.warmup_tokens) / (total - rate.warmup_tokens))
    return rate.to + (1.0 - rate.to) * 0.5 * (1.0 + math.cos(math.pi * progress))


def stage_fraction(plan: Plan, stage: str, tokens: int) -> float:
    """Fraction of the peak rate after `tokens` positions of one stage."""
    if plan.learning_rate is not None:
        done = stage_start(plan, stage) + tokens
        return cosine_fraction(plan.learning_rate, tokens=done, total=total_tokens(plan))
    start = 0.0
    for stage_plan in plan.stages:
        segment, length = stage_plan.learning_rate, stage_tokens(plan, stage_plan.name)
        if segment is None:
            raise AssertionError("a plan without a rate of its own has one in every stage")
        end = segment_end(segment, start=start, tokens=length)
        if stage_plan.name == stage:
            warmup = min(1.0, segment.warmup_tokens / length)
            return segment_fraction(segment, start=start, end=end, progress=tokens / length, warmup=warmup)
        start = end
    raise AssertionError(f"no stage {stage}")


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
        length = stage_tokens(plan, stage)
        if done <= length:
            return plan.optimizer.peak_learning_rate * stage_fraction(plan, stage, done)
        done -= length
    return plan.optimizer.peak_learning_rate * stage_fraction(plan, STAGES[-1], length)


def step_learning_rate(step: int, stage: str, plan: Plan) -> float:
    """Learning rate of an optimizer step of one stage, counted from 0 at the stage's start.

    The rate is read in the middle of the step's tokens: over a linear piece the steps then sum to its
    exact integral, and neither the first step of a warm-up nor the last of a decay to zero is wasted.
    It does not depend on the steps before the stage, which an earlier run may have taken.
    """
    tokens = step * plan.tokens_per_step + plan.tokens_per_step // 2
    return plan.optimizer.peak_learning_rate * stage_fraction(plan, stage, tokens)
