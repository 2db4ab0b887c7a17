"""`medpipe plan check`: a plan against a corpus, and what is wrong with what was named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.pretrain.plan import STAGES, builtin_plans
from medpipe_tests.pretrain.corpus import build_corpus


def check(home: Path, plan: str, *options: str) -> tuple[int, str]:
    environment = {"MEDPIPE_HOME": str(home), "MEDPIPE_LAKE": str(home / "lake"), "COLUMNS": "160"}
    result = CliRunner().invoke(app, ["plan", "check", plan, *options], env=environment)
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_a_plan_is_compiled_against_the_corpus(tmp_path: Path) -> None:
    build_corpus(tmp_path / "lake")
    status, output = check(tmp_path, "tiny")
    assert status == 0 and "general_source" in output and "give --measure STEPS, or --flops RATE" in output
    status, as_json = check(tmp_path, "tiny", "--json", "--flops", "1e9")
    facts = json.loads(as_json)
    assert status == 0 and [row["stage"] for row in facts["stages"]] == list(STAGES)
    assert facts["steps"] == 80 and facts["memory"]["peak"] > 0 and facts["time"]["seconds"] > 0
    # The tables say the same.
    for stage in facts["stages"]:
        assert f"{stage['tokens']:,}" in output and stage["learning_rate"]["course"] in output
        for part in stage["mixture"]:
            assert f"{part['samples']:,}" in output and f"{part['epochs']:.2f}" in output
    for row in facts["sources"]:
        assert f"{row['available']:,}" in output and f"{row['epochs']:.2f}" in output
    assert f"{facts['memory']['peak'] / 1e6:,.1f}" in output
    assert f"{facts['model']['parameters']:,} parameters" in output


def test_the_picture_is_drawn_where_asked(tmp_path: Path) -> None:
    build_corpus(tmp_path / "lake")
    status, output = check(tmp_path, "tiny", "--picture", str(tmp_path / "plan.png"))
    assert status == 0 and str(tmp_path / "plan.png") in output.replace("\n", "")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_every_reason_is_told_with_its_fix(tmp_path: Path) -> None:
    corpus = build_corpus(tmp_path / "lake")
    plan = tmp_path / "mine.yaml"
    plan.write_text(
        builtin_plans()["tiny"]
        .read_text()
        .replace("maximum_epochs: 100", "maximum_epochs: 1")
        .replace("{shape: constant, to: 1.0}", "{shape: constant, to: 0.5}")
        .replace("- {domain: disease, weight: 3}", "- {domain: literature, weight: 3}")
    )
    ref = corpus.snapshot.shards[1]
    folder = corpus.lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
    shard = sorted(folder.glob("*.bin"))[0]
    shard.write_bytes(shard.read_bytes()[:-2])
    status, output = check(tmp_path, str(plan))
    assert status == 1
    for expected in (
        "the learning rate jumps from 1 to 0.5 of the peak between fast and stable",
        "no training shard matches 'literature'",
        "has too few tokens",
        f"materialise shards/{ref.domain} again",
    ):
        assert expected in output


@pytest.mark.slow
def test_measured_steps_are_in_the_facts(tmp_path: Path) -> None:
    build_corpus(tmp_path / "lake")
    status, output = check(tmp_path, "tiny", "--json", "--measure", "2")
    facts = json.loads(output[output.index("{") :])
    assert status == 0 and facts["time"]["tokens_per_second"] > 0
    assert facts["time"]["based_on"].startswith("2 measured steps on c")
    assert facts["memory"]["measured_peak"] > 0
    assert not (tmp_path / "lake" / "runs").exists()


def test_fetching_is_for_hub_models(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["plan", "fetch", "tiny"], env={"MEDPIPE_HOME": str(tmp_path)})
    assert result.exit_code == 1 and "names no hub model" in result.output


@pytest.mark.parametrize(("names", "told"), [((), "it holds none"), (("b.yaml", "a.yml"), "b.yaml, ")])
def test_a_folder_is_called_a_folder(tmp_path: Path, names: tuple[str, ...], told: str) -> None:
    folder = tmp_path / "plans"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("")
    status, output = check(tmp_path, str(folder))
    assert status == 1 and "this is a folder" in output and told in output and "no such file" not in output


def test_a_plan_that_is_not_there_is_answered_with_what_is(tmp_path: Path) -> None:
    status, output = check(tmp_path, str(tmp_path / "nowhere.yaml"))
    assert status == 1 and "no such file" in output and "demo" in output
