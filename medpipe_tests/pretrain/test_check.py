"""What `plan check` says of a plan that may run."""

from __future__ import annotations

import io
import itertools
import math
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib import image

from medpipe.pretrain.check import check_plan, plan_facts
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.plan import STAGES, builtin_plans, parse_plan
from medpipe.pretrain.plan_plot import draw_plan
from medpipe.pretrain.stream import SampleStream
from medpipe.pretrain.trial import Trial
from medpipe_tests.pretrain.corpus import Corpus


@pytest.fixture
def checked(corpus: Corpus) -> CompiledPlan:
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["stages"][2]["mixture"] = [{"domain": "disease", "weight": 3}, {"replay": "stable", "weight": 1}]
    values["stages"][3]["learning_rate"] = {"shape": "exponential", "half_life_tokens": 5_000}
    return check_plan(parse_plan(values, origin="test"), corpus.snapshot, corpus.lake)


def facts_of(compiled: CompiledPlan, **more: Any) -> dict[str, Any]:
    return plan_facts(compiled, is_bf16=False, is_cpu=True, **more)


def test_tokens_by_source_are_those_of_the_stream(checked: CompiledPlan) -> None:
    facts = facts_of(checked)
    counted = {name: dict.fromkeys(("disease", "general"), 0) for name in STAGES}
    for stage in checked.stages:
        for sample in SampleStream(stage, seed=7):
            counted[stage.name][stage.shards[sample.shard].domain.value] += stage.sequence_length
    stated = {name: dict.fromkeys(("disease", "general"), 0) for name in STAGES}
    for row in facts["sources"]:
        for name, tokens in row["by_stage"].items():
            stated[name][row["domain"]] += tokens
    for name in STAGES:
        for domain, tokens in counted[name].items():
            assert stated[name][domain] == pytest.approx(tokens, abs=2)  # rounded by tier
    assert facts["tokens"] == sum(sum(by_domain.values()) for by_domain in counted.values())
    assert facts["steps"] == 80


def test_rates_join_and_replay_is_shown(checked: CompiledPlan) -> None:
    stages = facts_of(checked)["stages"]
    for before, after in itertools.pairwise(stages):
        assert before["learning_rate"]["to"] == pytest.approx(after["learning_rate"]["from"], abs=1e-15)
    assert stages[3]["learning_rate"]["course"] == "exponential, half after every 5,000 tokens"
    assert stages[3]["learning_rate"]["to"] == pytest.approx(4e-3 * 0.2 * 0.5 ** (20_480 / 5_000))
    labels = [part["from"] for part in stages[2]["mixture"]]
    assert labels == ["disease", "replay of stable: general"]


def test_time_is_measured_or_stated_and_never_made_up(checked: CompiledPlan) -> None:
    time = facts_of(checked)["time"]
    assert time["seconds"] is None and "--measure" in time["based_on"]
    facts = facts_of(checked, flops_per_second=1e9)
    operations = facts["model"]["flops_per_token"] * facts["tokens"]
    assert facts["time"]["seconds"] == pytest.approx(operations / 1e9)
    assert "stated rate of 1e+09" in facts["time"]["based_on"]
    trial = Trial(
        device="cpu", precision="fp32", threads=1, steps=3, tokens_per_second=512.0, peak_bytes=10_000_000
    )
    facts = facts_of(checked, trial=trial, flops_per_second=1e9)
    assert facts["time"]["seconds"] == facts["tokens"] / 512
    assert facts["time"]["based_on"].startswith("3 measured steps on cpu in fp32, 1 threads")
    assert facts["memory"]["error"] == pytest.approx(facts["memory"]["peak"] / 1e7 - 1)


def test_the_picture_shows_rate_and_shares(checked: CompiledPlan) -> None:
    pixels = image.imread(io.BytesIO(draw_plan(checked)))
    height, width, _ = pixels.shape
    assert width > 1_000 and height > 700
    # Orange-red of the rate in the upper half: highest at the plateau, on the axis at both ends.
    rate = np.array([0xB0, 0x3A, 0x00]) / 255
    is_rate = (np.abs(pixels[:, :, :3] - rate) < 0.06).all(axis=2)
    rows, columns = np.nonzero(is_rate)
    assert rows.max() < 0.6 * height
    top = columns[rows <= rows.min() + 2]
    assert np.ptp(top) > 0.2 * width  # fast's end and stable
    at_the_end = rows[columns >= columns.max() - 2]
    assert at_the_end.min() > rows.min() + 0.2 * height
    assert not math.isnan(float(pixels.mean()))


def test_chinese_labels_have_glyphs(checked: CompiledPlan) -> None:
    import warnings
    from dataclasses import replace

    from medpipe.pretrain import plan_plot

    if not plan_plot._installed_chinese():
        pytest.skip("this machine has no Chinese font")
    first, *others = checked.stages
    parts = (replace(first.components[0], label="guideline/临床诊疗指南"), *first.components[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a missing glyph
        draw_plan(replace(checked, stages=(replace(first, components=parts), *others)))
