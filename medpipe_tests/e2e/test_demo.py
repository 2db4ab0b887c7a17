"""`medpipe demo`: the whole graph on the sample, its table and its facts, and a second run that reuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = [pytest.mark.slow]

STAGES = ["fast", "stable", "anneal", "converge"]


class Demo(NamedTuple):
    home: Path
    first: dict[str, Any]
    second: dict[str, Any]
    output: str
    progress: str


def run_demo(home: Path) -> tuple[dict[str, Any], str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "medpipe.cli", "demo"],
        env={**os.environ, "MEDPIPE_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((home / "demo.json").read_bytes()), done.stdout, done.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo")
    first, output, progress = run_demo(home)
    second, again, _ = run_demo(home)
    assert "reused" in again
    return Demo(home, first, second, output, progress)


def test_every_row_is_kept_or_rejected(demo: Demo) -> None:
    assert len(demo.first["sources"]) == 8
    for source in demo.first["sources"]:
        assert source["rows"] == source["kept"] + source["rejected"] and source["kept"] > 0
    assert sum(source["rejected"] for source in demo.first["sources"]) >= 3


def test_every_weighed_domain_has_its_tokens(demo: Demo) -> None:
    assert set(demo.first["tokens"]) == {
        "general",
        "encyclopedia",
        "textbook",
        "guideline",
        "disease",
        "dialogue",
    }
    assert min(demo.first["tokens"].values()) >= 40_000


def test_the_curriculum_learns(demo: Demo) -> None:
    stages = demo.first["stages"]
    assert [stage["name"] for stage in stages] == STAGES
    assert stages[0]["loss_first"] > stages[0]["loss_last"] > stages[-1]["loss_last"]
    assert stages[-1]["bits_per_byte"]["all"] < stages[0]["bits_per_byte"]["all"]
    for stage in stages:
        assert (Path(stage["checkpoint"]) / "model.safetensors").is_file()
        assert set(stage["bits_per_byte"]) == {"all", *demo.first["tokens"]}


def test_the_table_says_what_the_facts_say(demo: Demo) -> None:
    for word in ["huatuo_encyclopedia_qa", *STAGES, *demo.first["tokens"], "127.0.0.1"]:
        assert word in demo.output
    assert f"{sum(demo.first['tokens'].values()):,}" in demo.output
    assert "medical advice" in demo.output
    assert demo.first["sample"].strip().splitlines()[0][:20] in demo.output


def test_progress_is_visible(demo: Demo) -> None:
    assert "ok raw/huatuo_encyclopedia_qa" in demo.progress
    assert "tokens/s" in demo.progress and "converge: step" in demo.progress
    assert "Traceback" not in demo.progress and "Warning" not in demo.progress


def test_the_second_run_reuses_everything(demo: Demo) -> None:
    assert demo.first["reused"] == []
    made = {line.split()[1] for line in demo.progress.splitlines() if line.startswith("  ok ")}
    assert set(demo.second["reused"]) == made
    assert demo.second["stages"] == demo.first["stages"]
    assert demo.second["mlflow_run"] == demo.first["mlflow_run"]


def test_checkpoints_and_links_are_in_mlflow(demo: Demo) -> None:
    from medpipe.settings import Settings
    from medpipe.tracking.store import client

    mlflow = client(Settings(home=demo.home))
    run = mlflow.get_run(demo.first["mlflow_run"])
    models = mlflow.search_logged_models([run.info.experiment_id])
    assert {model.params["stage"] for model in models} >= set(STAGES)
    assert run.data.tags["dagster/run_id"] in run.data.tags["dagster/url"]
    assert "train/loss" in run.data.metrics and "eval/bits_per_byte/all" in run.data.metrics
    assert any(name.startswith("revision/") for name in run.data.params)
