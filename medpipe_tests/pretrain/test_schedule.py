from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.pretrain.compile import rate_jumps
from medpipe.pretrain.plan import STAGES, Plan, RateSegment, Shape, load_plan
from medpipe.pretrain.schedule import learning_rate, stage_start, step_learning_rate

BASE = load_plan("tiny")


def with_segments(segments: list[RateSegment], tokens: list[int]) -> Plan:
    stages = tuple(
        stage.model_copy(update={"learning_rate": segment, "tokens": count})
        for stage, segment, count in zip(BASE.stages, segments, tokens, strict=True)
    )
    return BASE.model_copy(update={"stages": stages})


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tokens = [draw(st.integers(1, 200_000)) for _ in STAGES]
    top = draw(st.floats(0.01, 1))
    warmup = draw(st.integers(0, tokens[0]))
    segments = [RateSegment(shape=Shape.WARMUP, to=top, warmup_tokens=warmup)]
    for _ in STAGES[1:]:
        shape = draw(st.sampled_from([Shape.CONSTANT, Shape.LINEAR, Shape.EXPONENTIAL, Shape.ONE_MINUS_SQRT]))
        before = segments[-1].to
        to = before if shape is Shape.CONSTANT else before * draw(st.floats(0.01, 1))
        segments.append(RateSegment(shape=shape, to=to))
    return with_segments(segments, tokens)


@given(plans())
@settings(max_examples=200, deadline=None)
def test_rate_is_continuous_at_every_border(plan: Plan) -> None:
    assert rate_jumps(plan) == []
    peak = plan.optimizer.peak_learning_rate
    for stage in STAGES[1:]:
        border = stage_start(plan, stage)
        before, at, after = (learning_rate(border + d, plan) for d in (-1, 0, 1))
        # One token moves a one_minus_sqrt decay by at most sqrt(1 / tokens of the stage).
        tokens = plan.stage_steps(stage) * plan.tokens_per_step
        assert abs(before - at) <= peak * 2 / plan.tokens_per_step + 1e-12
        assert abs(after - at) <= peak * math.sqrt(1 / tokens) + 1e-12


@given(plans(), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_rate_stays_between_zero_and_the_peak_and_falls_after_the_first_stage(plan: Plan, at: int) -> None:
    rate = learning_rate(at, plan)
    assert 0 <= rate <= plan.optimizer.peak_learning_rate * (1 + 1e-12)
    if at >= stage_start(plan, "stable"):
        assert learning_rate(at + 1, plan) <= rate * (1 + 1e-12)


def test_known_values() -> None:
    plan = with_segments(
        [
            RateSegment(shape=Shape.WARMUP, to=1.0, warmup_tokens=2_048),
            RateSegment(shape=Shape.CONSTANT, to=1.0),
            RateSegment(shape=Shape.EXPONENTIAL, to=0.25),
            RateSegment(shape=Shape.LINEAR, to=0.0),
        ],
        [10_240, 10_240, 10_240, 10_240],
    )
    peak = plan.optimizer.peak_learning_rate
    expected = {
        0: 0.0,
        1_024: 0.5,
        2_048: 1.0,
        20_480: 1.0,
        25_600: 0.5,  # halfway down two halvings
        30_720: 0.25,
        35_840: 0.125,
        40_960: 0.0,
        99_999: 0.0,
    }
    for tokens, fraction in expected.items():
        assert learning_rate(tokens, plan) == pytest.approx(peak * fraction, abs=1e-15)


def test_one_minus_sqrt() -> None:
    segments = [stage.learning_rate for stage in BASE.stages]
    segments[2] = RateSegment(shape=Shape.ONE_MINUS_SQRT, to=0.2)
    plan = with_segments(segments, [10_240] * 4)
    quarter = stage_start(plan, "anneal") + 10_240 // 4
    assert learning_rate(quarter, plan) == pytest.approx(plan.optimizer.peak_learning_rate * 0.6)


def test_steps_read_the_rate_in_their_middle() -> None:
    steps = sum(BASE.stage_steps(stage) for stage in STAGES)
    rates = [step_learning_rate(step, BASE) for step in range(steps)]
    assert min(rates) > 0
    assert rates[0] == learning_rate(BASE.tokens_per_step // 2, BASE)


def test_negative_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        learning_rate(-1, BASE)
