from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.pretrain.plan import STAGES, Plan, RateSegment, Shape, WholeRunRate, load_plan
from medpipe.pretrain.rate_borders import rate_jumps
from medpipe.pretrain.schedule import (
    learning_rate,
    stage_fraction,
    stage_start,
    stage_tokens,
    step_learning_rate,
    total_tokens,
)

BASE = load_plan("tiny")


def with_segments(segments: list[RateSegment], tokens: list[int]) -> Plan:
    stages = tuple(
        stage.model_copy(update={"learning_rate": segment, "tokens": count})
        for stage, segment, count in zip(BASE.stages, segments, tokens, strict=True)
    )
    return BASE.model_copy(update={"stages": stages})


def segment_end_of(segments: list[RateSegment], tokens: list[int]) -> float:
    """Closed form of the rate behind the last of some segments."""
    end = 0.0
    for segment, count in zip(segments, tokens, strict=False):
        length = max(1, round(count / BASE.tokens_per_step)) * BASE.tokens_per_step
        halvings = length / segment.half_life_tokens if segment.half_life_tokens else 0
        end = end * 0.5**halvings if segment.half_life_tokens else segment.to
    return end


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tokens = [draw(st.integers(1, 200_000)) for _ in STAGES]
    top = draw(st.floats(0.01, 1))
    warmup = draw(st.integers(0, tokens[0]))
    segments = [RateSegment(shape=Shape.WARMUP, to=top, warmup_tokens=warmup)]
    for _ in STAGES[1:]:
        shape = draw(st.sampled_from([Shape.CONSTANT, Shape.LINEAR, Shape.EXPONENTIAL, Shape.ONE_MINUS_SQRT]))
        if shape is Shape.EXPONENTIAL and draw(st.booleans()):
            segments.append(RateSegment(shape=shape, half_life_tokens=draw(st.integers(20_000, 10**6))))
        else:
            before = segment_end_of(segments, tokens)
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
    rates = [step_learning_rate(step, s, BASE) for s in STAGES for step in range(BASE.stage_steps(s))]
    assert len(rates) == steps and min(rates) > 0
    middles = [step * BASE.tokens_per_step + BASE.tokens_per_step // 2 for step in range(steps)]
    assert rates == [learning_rate(middle, BASE) for middle in middles]
    assert rates[0] == learning_rate(BASE.tokens_per_step // 2, BASE)


def test_negative_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        learning_rate(-1, BASE)


@given(plans())
@settings(max_examples=200, deadline=None)
def test_a_stage_begins_where_the_one_before_it_ended(plan: Plan) -> None:
    for before, after in itertools.pairwise(STAGES):
        end = stage_fraction(plan, before, stage_tokens(plan, before))
        assert abs(stage_fraction(plan, after, 0) - end) <= 1e-12


@given(st.integers(1_000, 10**6), st.integers(1_024, 400_000), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_half_life_halves(half_life: int, tokens: int, share: float) -> None:
    segments = [stage.learning_rate for stage in BASE.stages]
    segments[2] = RateSegment(shape=Shape.EXPONENTIAL, half_life_tokens=half_life)
    plan = with_segments(segments, [10_240, 10_240, tokens, 10_240])
    length = stage_tokens(plan, "anneal")
    at = round(share * length)
    expected = 0.5 ** (at / half_life)
    assert stage_fraction(plan, "anneal", at) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert stage_fraction(plan, "converge", 0) == pytest.approx(
        0.5 ** (length / half_life), rel=1e-9, abs=1e-300
    )
    assert rate_jumps(plan) == []


@pytest.mark.parametrize("shape", ["linear", "exponential", "one_minus_sqrt"])
@given(share=st.floats(0, 1), to=st.floats(0.01, 1))
@settings(max_examples=100, deadline=None)
def test_decays_have_their_closed_forms(shape: str, share: float, to: float) -> None:
    segments = [stage.learning_rate for stage in BASE.stages]
    segments[2] = RateSegment(shape=Shape(shape), to=to)
    plan = with_segments(segments, [10_240] * 4)
    at = round(share * 10_240)
    progress = at / 10_240
    expected = {
        "linear": 1 + (to - 1) * progress,
        "exponential": math.exp(progress * math.log(to)),
        "one_minus_sqrt": to + (1 - to) * (1 - progress**0.5),
    }[shape]
    assert stage_fraction(plan, "anneal", at) == pytest.approx(expected, abs=1e-12)


def whole_run(plan: Plan, **rate: object) -> Plan:
    stages = tuple(stage.model_copy(update={"learning_rate": None}) for stage in plan.stages)
    return plan.model_copy(
        update={"stages": stages, "learning_rate": WholeRunRate.model_validate({"shape": "cosine"} | rate)}
    )


def test_a_cosine_runs_over_the_whole_plan() -> None:
    plan = whole_run(BASE, warmup_tokens=4_096, to=0.1)
    peak, total = BASE.optimizer.peak_learning_rate, total_tokens(BASE)
    middle = (4_096 + total) // 2
    expected = {0: 0.0, 2_048: 0.5, 4_096: 1.0, middle: 0.55, total: 0.1, total + 5_000: 0.1}
    for tokens, fraction in expected.items():
        assert learning_rate(tokens, plan) == pytest.approx(peak * fraction, abs=1e-12)
    assert rate_jumps(plan) == []
    falling = [learning_rate(tokens, plan) for tokens in range(4_096, total, 512)]
    assert falling == sorted(falling, reverse=True)


def test_a_constant_away_from_the_rate_before_it_is_a_jump() -> None:
    segments = [stage.learning_rate for stage in BASE.stages]
    segments[2] = RateSegment(shape=Shape.EXPONENTIAL, half_life_tokens=10_240)
    segments[3] = RateSegment(shape=Shape.CONSTANT, to=0.5 + 1e-11)
    [jump] = rate_jumps(with_segments(segments, [10_240] * 4))
    assert "between anneal and converge" in jump
    segments[3] = RateSegment(shape=Shape.CONSTANT, to=0.5 + 1e-13)
    assert rate_jumps(with_segments(segments, [10_240] * 4)) == []
