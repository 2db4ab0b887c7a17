"""From windows to an answer, and from answers to a report that may say no."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.paired import Interval, Measured, PairedBootstrap
from medpipe.evaluate.verdict import Answer, Comparison, compare, decide, kinds_of_text, measured_arms
from medpipe.evaluate.verdict_facts import Verdict, comparison_rows, held_out_sizes, matrix_rows
from medpipe.evaluate.verdict_plots import forest_plot, rate_lines, rate_plot
from medpipe.evaluate.verdict_report import FOREST, RATES, as_html, as_markdown
from medpipe.evaluate.verdict_words import headlines, limits
from medpipe.pretrain.plan import load_plan
from medpipe.pretrain.schedule import stage_start

PNG = b"\x89PNG\r\n\x1a\n"


def interval(low: float, high: float, *, covers_seeds: bool = True, documents: int = 40) -> Interval:
    middle = (low + high) / 2 if math.isfinite(low) else 0.0
    return Interval(estimate=middle, low=low, high=high, documents=documents, covers_seeds=covers_seeds)


def comparison(
    low: float, high: float, *, other: ArmName = ArmName.CONTROL, text: str = "medical", smallest: float = 0.0
) -> Comparison:
    gain = interval(low, high)
    return Comparison(other=other, text=text, gain=gain, together=gain, smallest_gain=smallest)


def measured(
    *, medical: float, general: float, seeds: int = 3, documents: int = 40, luck: float = 0.002
) -> Measured:
    """The control needs so many bits per byte more than the curriculum; the shuffled arm as many."""
    draws = np.random.default_rng(5)
    domains = ("disease",) * documents + ("general",) * documents
    sizes = np.round(draws.lognormal(5, 0.4, len(domains)))
    hardness = draws.normal(2, 0.3, len(domains))
    change = np.where(np.array(domains) == "disease", medical, general)
    change = change + draws.normal(0, 0.01, len(domains))
    bits = {
        name.value: (hardness + shift + draws.normal(0, luck, (seeds, 1))) * sizes
        for name, shift in (
            (ArmName.CURRICULUM, 0.0),
            (ArmName.CONTROL, change),
            (ArmName.SHUFFLED, 0.0),
        )
    }
    return Measured(domains=domains, sizes=sizes, bits=bits)


def answers(of: Measured, *, smallest_gain: float = 0.0) -> dict[tuple[str, str], Answer]:
    found = compare(of, PairedBootstrap(of, replicates=1000), smallest_gain=smallest_gain)
    return {(each.other.value, each.text): each.answer for each in found}


def test_a_curriculum_that_learns_medicine_and_forgets_the_rest_is_told_both() -> None:
    of = measured(medical=0.1, general=-0.1)
    found = answers(of)
    assert found["control", "medical"] is Answer.HELPED
    assert found["control", "general"] is Answer.NOT
    assert found["shuffled", "medical"] is Answer.UNDECIDED
    comparisons = compare(of, PairedBootstrap(of, replicates=1000), smallest_gain=0.0)
    said = dict(headlines(comparisons))
    assert said["Medical text, against the same decay on unchanged data"].startswith("The curriculum helped")
    assert said["General text, against the same decay on unchanged data"].startswith("The curriculum forgot")
    assert said["Medical text, against the same data without order"].startswith("Undecided")


def test_a_curriculum_that_does_harm_is_told_so() -> None:
    of = measured(medical=-0.1, general=0.1)
    said = dict(headlines(compare(of, PairedBootstrap(of, replicates=1000), smallest_gain=0.0)))
    assert said["Medical text, against the same decay on unchanged data"].startswith(
        "The curriculum did not help: the other arm does better."
    )
    assert "did not forget" in said["General text, against the same decay on unchanged data"]


def test_no_difference_is_undecided_but_a_no_where_a_gain_must_be_worth_having() -> None:
    of = measured(medical=0.0, general=0.0, luck=0.0005)
    assert set(answers(of).values()) == {Answer.UNDECIDED}
    worth = answers(of, smallest_gain=0.05)
    assert worth["control", "medical"] is Answer.NOT
    # The loss is smaller than what is worth keeping: nothing that matters was forgotten.
    assert worth["control", "general"] is Answer.HELPED


def test_one_seed_decides_nothing() -> None:
    of = measured(medical=0.5, general=0.5, seeds=1)
    assert set(answers(of).values()) == {Answer.UNDECIDED}
    said = headlines(compare(of, PairedBootstrap(of, replicates=500), smallest_gain=0.0))
    assert all("with one seed" in answer for _, answer in said)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5), st.booleans())
@settings(max_examples=50)
def test_an_answer_needs_the_whole_interval(low: float, width: float, threshold: float, covers: bool) -> None:
    found = decide(interval(low, low + width, covers_seeds=covers), threshold)
    assert (found is Answer.HELPED) == (covers and low > threshold)
    assert (found is Answer.NOT) == (covers and low + width < threshold)


def test_an_answer_stands_only_if_it_holds_together_with_the_others() -> None:
    narrow = comparison(0.1, 0.3)
    assert narrow.stands
    assert not replace(narrow, together=interval(-0.1, 0.5)).stands
    assert not comparison(-0.1, 0.3).stands


def test_kinds_of_text() -> None:
    assert kinds_of_text(("general", "disease", "tcm", "disease")) == {
        "all": ("disease", "general", "tcm"),
        "medical": ("disease", "tcm"),
        "disease": ("disease",),
        "general": ("general",),
        "tcm": ("tcm",),
    }
    assert list(kinds_of_text(("disease",))) == ["medical", "disease"]
    assert list(kinds_of_text(("general",))) == ["all", "general"]


def windows(bits: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "domain": ["disease", "disease", "disease", "general"],
            "document": ["b", "a", "b", "b"],
            "start": [0, 0, 64, 0],
            "bytes": [64, 30, 6, 50],
            "bits": bits,
        }
    )


def test_windows_are_added_up_to_documents() -> None:
    frames = [windows([1.0, 2.0, 3.0, 4.0]), windows([2.0, 2.0, 2.0, 2.0])]
    found = measured_arms({ArmName.CURRICULUM: frames, ArmName.CONTROL: frames[::-1]})
    assert found.domains == ("disease", "disease", "general")
    assert found.sizes.tolist() == [30, 70, 50]
    assert found.bits["curriculum"].tolist() == [[2.0, 4.0, 4.0], [2.0, 4.0, 2.0]]
    assert held_out_sizes(found) == {
        "disease": {"documents": 2, "bytes": 100},
        "general": {"documents": 1, "bytes": 50},
    }
    row = matrix_rows(found)[0]
    assert row["arm"] == "curriculum"
    assert row["disease"] == {"mean": pytest.approx(0.06), "sd": pytest.approx(0.0)}
    assert row["general"]["sd"] == pytest.approx(math.sqrt(2) / 50)


def test_arms_on_other_text_are_refused() -> None:
    other = windows([1.0] * 4).with_columns(bytes=pl.Series([64, 30, 7, 50]))
    with pytest.raises(ValueError, match="arm control was not measured on the same held-out text"):
        measured_arms({ArmName.CURRICULUM: [windows([1.0] * 4)], ArmName.CONTROL: [other]})


@pytest.fixture
def verdict() -> Verdict:
    of = measured(medical=0.1, general=-0.1, documents=12)
    comparisons = compare(of, PairedBootstrap(of, replicates=500), smallest_gain=0.0)
    return Verdict(
        plan="a_<plan>",
        snapshot="0" * 32,
        seeds=3,
        start="1" * 32,
        parameters=1_000,
        questions=[{"question": q, "answer": a} for q, a in headlines(comparisons)],
        comparisons=comparison_rows(comparisons),
        matrix=matrix_rows(of),
        arms=[],
        left_out={"cosine": "it would read a source 9 times"},
        raised={"control": 5.5},
        held_out=held_out_sizes(of),
        bootstrap={"level": 0.95, "replicates": 500, "seed": 0, "smallest_gain": 0.0},
        limits=limits(
            comparisons, seeds=3, parameters=1_000, tokens=5_000, documents={"disease": 12, "general": 12}
        ),
    )


def test_the_report_says_the_same_in_markdown_and_html(verdict: Verdict) -> None:
    markdown = as_markdown(verdict, picture_prefix="x-")
    page = as_html(verdict, {FOREST: PNG, RATES: PNG})
    for text in (markdown, page):
        assert "The curriculum helped" in text and "The curriculum forgot" in text
        assert "it would read a source 9 times" in text and "5.50 times" in text
        assert "disease (12)" in text and "by chance alone" in text
    assert f"![Gain of the curriculum by arm and kind of text, with intervals](x-{FOREST})" in markdown
    assert "a_&lt;plan&gt;" in page and "<plan>" not in page
    assert page.count("data:image/png;base64,") == 2 and "**" not in page


def test_the_facts_are_json_even_where_there_is_no_interval(verdict: Verdict) -> None:
    endless = comparison_rows([comparison(-math.inf, math.inf)])
    text = json.dumps(replace(verdict, comparisons=endless).as_json(), allow_nan=False)
    assert json.loads(text)["comparisons"][0]["low"] is None
    assert "| none | none |" in as_markdown(replace(verdict, comparisons=endless))


def test_the_picture_of_the_gains_is_drawn_without_an_interval_too() -> None:
    several = [
        comparison(0.1, 0.2),
        comparison(-0.3, -0.1, text="general"),
        comparison(-0.1, 0.1, other=ArmName.COSINE),
        comparison(-math.inf, math.inf, other=ArmName.COSINE, text="general"),
    ]
    assert forest_plot(several).startswith(PNG)


def test_the_rates_begin_where_the_arms_do() -> None:
    plan = load_plan("tiny")
    plans = {ArmName.CURRICULUM: plan, ArmName.CONTROL: plan}
    peak, border = plan.optimizer.peak_learning_rate, stage_start(plan, "anneal")
    points, lines = rate_lines(plans, begin=0)
    assert points[0] == 0 and [(min(rates), max(rates)) for rates in lines] == [(0.0, peak)]
    assert list(lines.values()) == [[ArmName.CURRICULUM, ArmName.CONTROL]]
    points, lines = rate_lines(plans, begin=border)
    [rates] = lines
    assert points[0] == border and rates[0] == peak and list(rates) == sorted(rates, reverse=True)
    assert rate_plot(plans, first="anneal").startswith(PNG) and rate_plot(plans).startswith(PNG)
