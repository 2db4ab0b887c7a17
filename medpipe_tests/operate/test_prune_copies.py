"""`medpipe prune` and the copies of checkpoints that lie in MLflow's folder of the home."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.pretrain.plan import builtin_plans
from medpipe.settings import Settings
from medpipe.tracking.checkpoints import CHECKPOINT_TAG
from medpipe.tracking.store import client, experiment_id

STEPS = (10, 20, 30, 40, 50, 60)
BEST = 20


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MEDPIPE_LAKE", raising=False)
    monkeypatch.setenv("MEDPIPE_HOME", str(tmp_path))
    return Settings(home=tmp_path)


def stage_run(mlflow: MlflowClient, experiment: str, folder: Path, *, status: str | None) -> dict[int, Any]:
    """A run with a copy of a checkpoint a step; the LoggedModels by step."""
    run = mlflow.create_run(experiment).info.run_id
    models = {}
    weights = folder / "model.safetensors"
    for step in STEPS:
        weights.write_bytes(bytes(1000 + step))
        model = mlflow.create_logged_model(
            experiment,
            name=f"tiny-{step}",
            source_run_id=run,
            params={"step": str(step)},
            tags={CHECKPOINT_TAG: f"{run}-{step}"},
        )
        mlflow.log_model_artifact(model.model_id, str(weights))
        models[step] = mlflow.finalize_logged_model(model.model_id, "READY")
        mlflow.log_metric(run, "eval/bits_per_byte/all", 1.0 + abs(step - BEST), step=step)
    if status is not None:
        mlflow.set_terminated(run, status=status)
    return models


def prune(*options: str) -> list[dict[str, Any]]:
    said = CliRunner().invoke(app, ["prune", "--json", "--checkpoints", "1", *options])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)["found"]
    return [each for each in found if each["kind"] == "mlflow copy"]


def weights_of(model: Any) -> Path:
    return Path(urlsplit(model.artifact_location).path) / "model.safetensors"


def test_of_a_finished_run_the_last_the_best_and_the_registered_stay(
    settings: Settings, tmp_path: Path
) -> None:
    mlflow, experiment = client(settings), experiment_id(settings)
    finished = stage_run(mlflow, experiment, tmp_path, status="FINISHED")
    others = [stage_run(mlflow, experiment, tmp_path, status=status) for status in ("KILLED", None)]
    mlflow.create_registered_model("tiny")
    digest = finished[30].tags[CHECKPOINT_TAG]
    mlflow.create_model_version("tiny", (tmp_path / "copy").as_uri(), tags={CHECKPOINT_TAG: digest})
    mlflow.create_model_version("tiny", finished[40].artifact_location)

    planned = prune()
    assert [each["name"] for each in planned] == [
        f"{finished[step].name} ({finished[step].model_id})" for step in (10, 50)
    ]
    assert {each["outcome"] for each in planned} == {"would go"} and planned[0]["bytes"] >= 1010
    assert all(weights_of(model).is_file() for model in finished.values()), "it was to look only"

    assert {each["outcome"] for each in prune("--yes")} == {"deleted"}
    left = {step for step, model in finished.items() if weights_of(model).is_file()}
    assert left == {20, 30, 40, 60}
    listed = {model.model_id for model in mlflow.search_logged_models([experiment])}
    assert {finished[step].model_id for step in STEPS} & listed == {finished[step].model_id for step in left}
    assert all(weights_of(model).is_file() for models in others for model in models.values())
    assert prune() == []


def test_what_was_registered_since_it_was_planned_stays(settings: Settings, tmp_path: Path) -> None:
    from medpipe.operate.prune.copies import copies
    from medpipe.operate.prune.doomed import Limits
    from medpipe.operate.prune.needed import Begun, Registered

    mlflow = client(settings)
    models = stage_run(mlflow, experiment_id(settings), tmp_path, status="FINISHED")
    limits = Limits(snapshots=1, checkpoints=4, event_days=30, idle_hours=0)
    nothing = Begun(digests=frozenset(), paths=frozenset())
    (doomed,) = copies(settings, limits, Registered(), nothing)
    mlflow.create_registered_model("tiny")
    mlflow.create_model_version("tiny", models[10].artifact_location)
    assert doomed.remove() is False and weights_of(models[10]).is_file()


def test_a_run_that_is_gone_for_good_stops_nothing(settings: Settings, tmp_path: Path) -> None:
    mlflow, experiment = client(settings), experiment_id(settings)
    gone, there = (stage_run(mlflow, experiment, tmp_path, status="FINISHED") for _ in range(2))
    run = gone[10].source_run_id
    mlflow.delete_run(run)
    mlflow._tracking_client.store._hard_delete_run(run)  # as `mlflow gc` does
    names = {each["name"] for each in prune("--yes")}
    assert names == {f"{there[step].name} ({there[step].model_id})" for step in (10, 30, 40, 50)}
    assert all(weights_of(model).is_file() for model in gone.values())


def test_what_was_half_deleted_goes_with_the_next_prune(settings: Settings, tmp_path: Path) -> None:
    mlflow, experiment = client(settings), experiment_id(settings)
    models = stage_run(mlflow, experiment, tmp_path, status="FINISHED")
    shutil.rmtree(weights_of(models[10]).parent)
    assert {each["outcome"] for each in prune("--yes")} == {"deleted"}
    listed = {model.model_id for model in mlflow.search_logged_models([experiment])}
    assert listed == {models[step].model_id for step in (BEST, 60)}


def test_a_copy_that_a_plan_begins_with_stays(settings: Settings, tmp_path: Path) -> None:
    models = stage_run(client(settings), experiment_id(settings), tmp_path, status="FINISHED")
    plan = yaml.safe_load(builtin_plans()["tiny"].read_text(encoding="utf-8"))
    plan["start_from"] = {"model": str(weights_of(models[10]).parent)}
    plans = settings.home / "plans"
    plans.mkdir(parents=True)
    (plans / "later.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    prune("--yes")
    left = {step for step, model in models.items() if weights_of(model).is_file()}
    assert left == {10, BEST, 60}


def test_copies_that_lie_elsewhere_are_left_alone(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", elsewhere.as_uri())
    own = Settings(home=tmp_path)
    models = stage_run(client(own), experiment_id(own), tmp_path, status="FINISHED")
    assert weights_of(models[10]).is_relative_to(elsewhere)
    assert prune() == []
