from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from medpipe.pretrain.plan import PlanError, builtin_plans, load_plan, parse_plan


@pytest.fixture
def values() -> dict[str, Any]:
    return yaml.safe_load(builtin_plans()["tiny"].read_text())


def problems_of(values: Any) -> list[str]:
    with pytest.raises(PlanError) as caught:
        parse_plan(values, origin="my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    return caught.value.problems


@pytest.mark.parametrize("name", ["demo", "tiny", "mini", "base", "continue"])
def test_builtin_plans_load(name: str) -> None:
    assert load_plan(name).name == name


def test_plan_is_found_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(builtin_plans()["tiny"].read_text().replace("name: tiny", "name: mine"))
    assert load_plan(path).name == "mine"


def test_missing_plan_names_the_builtin_ones() -> None:
    with pytest.raises(PlanError, match=r"no such file and no built-in plan.*demo.*tiny"):
        load_plan("dmeo")


def test_unknown_field_names_file_place_and_nearest_field(tmp_path: Path) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text(builtin_plans()["tiny"].read_text().replace("hidden_size", "hiden_size"))
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert str(path) in str(caught.value)
    assert caught.value.problems == [
        "line 7: model.hiden_size: unknown field 'hiden_size'; did you mean 'hidden_size'?"
    ]


def test_unknown_field_in_a_mixture_entry(values: dict[str, Any]) -> None:
    values["stages"][1]["mixture"][0]["domian"] = values["stages"][1]["mixture"][0].pop("domain")
    [problem] = problems_of(values)
    assert problem == "stages.1.mixture.0.domian: unknown field 'domian'; did you mean 'domain'?"


def test_unknown_field_without_a_near_name_lists_the_allowed_ones(values: dict[str, Any]) -> None:
    values["optimizer"]["zzz"] = 1
    [problem] = problems_of(values)
    assert "allowed are peak_learning_rate, betas, eps, weight_decay, gradient_clip" in problem


def test_all_mistakes_are_reported_at_once(values: dict[str, Any]) -> None:
    values["sed"] = values.pop("seed")  # a typo
    values["model"]["heads"] = 5  # does not divide the width
    values["stages"][0]["tokens"] = -1
    values["stages"][2]["learning_rate"]["shape"] = "cosin"
    values["stages"][3]["mixture"] = []
    text = "\n".join(problems_of(values))
    for expected in ("did you mean 'seed'", "hidden_size 64 is no multiple", "stages.0.tokens", "shape"):
        assert expected in text
    assert "stages.3.mixture" in text


def test_mistakes_behind_a_typo_come_to_light(values: dict[str, Any]) -> None:
    values["sequense_length"] = values.pop("sequence_length")
    values["stages"].reverse()
    text = "\n".join(problems_of(values))
    assert "did you mean 'sequence_length'" in text
    assert "stages must be fast, stable, anneal, converge in this order" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"batch_tokens": 1024}, "exactly one of batch_tokens and batch_sequences"),
        ({"batch_tokens": 1000, "batch_sequences": None}, "no multiple of sequence_length"),
        ({"micro_batch_sequences": 5}, "does not divide into micro batches"),
        ({"sequence_length": 512}, "longer than model.max_position"),
        ({"maximum_epochs": float("nan")}, "finite"),
        ({"name": "../elsewhere"}, "name"),
    ],
)
def test_fields_that_contradict(values: dict[str, Any], change: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(problems_of(values | change))


@pytest.mark.parametrize(
    ("stage", "segment", "expected"),
    [
        (1, {"shape": "warmup", "to": 1.0}, "only the first stage warms up"),
        (0, {"shape": "linear", "to": 1.0}, "the first stage needs shape warmup"),
        (3, {"shape": "exponential", "to": 0.0}, "never reaches 0"),
        (1, {"shape": "constant", "to": 1.0, "warmup_tokens": 5}, "warmup_tokens needs shape warmup"),
        (0, {"shape": "warmup", "warmup_tokens": 30_000}, "exceeds the stage's tokens"),
    ],
)
def test_impossible_rates(values: dict[str, Any], stage: int, segment: dict[str, Any], expected: str) -> None:
    values["stages"][stage]["learning_rate"] = segment
    assert expected in "\n".join(problems_of(values))


def test_a_field_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(builtin_plans()["tiny"].read_text() + "\nseed: 8\n")
    with pytest.raises(PlanError, match=r"line \d+: .*the field 'seed' stands twice"):
        load_plan(path)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\x00"])
def test_no_yaml_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(PlanError, match=r"broken\.yaml"):
        load_plan(path)


def test_parsing_does_not_change_its_input(values: dict[str, Any]) -> None:
    values["sed"] = 1
    before = copy.deepcopy(values)
    problems_of(values)
    assert values == before


COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({}, "exactly one of model, run and checkpoint"),
        ({"model": "o/n", "revision": COMMIT, "run": "x"}, "exactly one of model, run and checkpoint"),
        ({"model": "owner/name"}, "needs its revision, a commit of 40 hex digits"),
        ({"model": "owner/name", "revision": "main"}, "start_from.revision"),
        ({"model": "./folder", "revision": COMMIT}, "revision is for a hub model only"),
        ({"model": "gpt2", "revision": COMMIT}, "neither owner/name nor a folder"),
        ({"model": "o/n", "revision": COMMIT, "at": "anneal"}, "starts at fast"),
        ({"run": "../elsewhere"}, "start_from.run"),
        ({"run": "x", "stage": "converge"}, "no stage is behind converge"),
        ({"run": "x", "sttage": "fast"}, "did you mean 'stage'"),
    ],
)
def test_impossible_starts(values: dict[str, Any], start: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(problems_of(values | {"start_from": start}))


def test_a_model_comes_from_the_plan_or_from_the_start(values: dict[str, Any]) -> None:
    del values["model"]
    assert problems_of(values) == ["give model, start_from, or both"]
    plan = parse_plan(values | {"start_from": {"run": "demo"}}, origin="x")
    assert plan.start_from is not None and plan.start_from.stage == "stable"


def test_one_rate_for_the_run_or_one_a_stage(values: dict[str, Any]) -> None:
    cosine = {"shape": "cosine", "warmup_tokens": 1_000, "to": 0.1}
    text = "\n".join(problems_of(values | {"learning_rate": cosine}))
    assert text.count("the plan's learning_rate covers all stages") == 4
    for stage in values["stages"]:
        del stage["learning_rate"]
    assert "\n".join(problems_of(values)).count("learning_rate is missing") == 4
    assert parse_plan(values | {"learning_rate": cosine}, origin="x").stages[0].learning_rate is None
    refresh = values | {"learning_rate": cosine, "start_from": {"run": "demo"}}
    assert "a cosine runs from the first token" in problems_of(refresh)[0]
    late = values | {"learning_rate": cosine | {"warmup_tokens": 10**9}}
    assert "for the cosine" in problems_of(late)[0]


def test_a_warm_up_as_long_as_the_whole_steps_leaves_no_cosine(values: dict[str, Any]) -> None:
    """Budgets are rounded to whole steps: their sum says more than is trained."""
    for stage in values["stages"]:
        del stage["learning_rate"]
        stage["tokens"] = 1_400
    values |= {"sequence_length": 64, "batch_sequences": 16, "batch_tokens": None}
    rate = {"shape": "cosine", "to": 0.1}
    assert parse_plan(values | {"learning_rate": rate | {"warmup_tokens": 4_095}}, origin="x")
    refused = problems_of(values | {"learning_rate": rate | {"warmup_tokens": 4_096}})
    assert refused == [
        "learning_rate.warmup_tokens 4096 leaves none of the 4096 tokens of all stages' whole steps for the "
        "cosine"
    ]


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        ({"shape": "linear", "half_life_tokens": 5}, "half_life_tokens needs shape exponential"),
        ({"shape": "exponential", "half_life_tokens": 5, "to": 0.5}, "either to or half_life_tokens"),
    ],
)
def test_half_lives_that_contradict(values: dict[str, Any], segment: dict[str, Any], expected: str) -> None:
    values["stages"][2]["learning_rate"] = segment
    assert expected in "\n".join(problems_of(values))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"weight": 1}, "exactly one of domain and replay"),
        ({"replay": "fast", "domain": "general", "weight": 1}, "exactly one of domain and replay"),
        ({"replay": "fast", "tier": "raw", "weight": 1}, "leave source and tier out"),
        ({"replay": "anneal", "weight": 1}, "replay of anneal, which is no earlier stage"),
        ({"replay": "converge", "weight": 1}, "replay of converge, which is no earlier stage"),
        ({"domain": "cardiology", "weight": 1}, "Input should be 'general'"),
    ],
)
def test_impossible_mixture_entries(values: dict[str, Any], entry: dict[str, Any], expected: str) -> None:
    values["stages"][2]["mixture"].append(entry)
    assert expected in "\n".join(problems_of(values))


@pytest.mark.parametrize("name", ["demo", "tiny", "mini", "base", "continue"])
def test_a_dump_is_the_same_plan_again(name: str) -> None:
    plan = load_plan(name)
    assert type(plan).model_validate(plan.model_dump(mode="json")) == plan
