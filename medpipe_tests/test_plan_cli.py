"""`medpipe plan check`: a plan against a corpus, and what is wrong with what was named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe_tests.pretrain.corpus import build_corpus


def check(home: Path, plan: str, *options: str) -> tuple[int, str]:
    environment = {"MEDPIPE_HOME": str(home), "MEDPIPE_LAKE": str(home / "lake"), "COLUMNS": "100"}
    result = CliRunner().invoke(app, ["plan", "check", plan, *options], env=environment)
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_a_plan_is_compiled_against_the_corpus(tmp_path: Path) -> None:
    build_corpus(tmp_path / "lake")
    status, output = check(tmp_path, "tiny")
    assert status == 0 and "fast" in output and "converge" in output
    status, as_json = check(tmp_path, "tiny", "--json")
    rows = json.loads(as_json)
    assert status == 0 and {row["stage"] for row in rows} == {"fast", "stable", "anneal", "converge"}
    assert all(row["samples"] > 0 for row in rows)
    shown = {tuple(line.split("│")[1].split()) for line in output.splitlines() if "│" in line}
    assert {(row["stage"],) for row in rows} <= shown


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
