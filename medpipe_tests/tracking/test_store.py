from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medpipe.settings import Settings
from medpipe.tracking.links import compare_url, run_url
from medpipe.tracking.store import (
    EXPERIMENT,
    TrackingError,
    client,
    display_uri,
    experiment_id,
    prepare_environment,
    redact,
    talking_to,
)

SECRET = "hunter2%21x"
OPENER = """
import sys
from medpipe.settings import Settings
from medpipe.tracking.store import experiment_id
print(experiment_id(Settings(home=sys.argv[1])))
"""


def test_importing_the_room_loads_no_mlflow() -> None:
    code = (
        "import sys, medpipe.tracking.replay, medpipe.tracking.runs, medpipe.tracking.checkpoints;"
        "print(sorted({'mlflow', 'torch', 'pandas'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


def test_the_experiment_is_made_once_with_a_description_and_local_artifacts(
    settings: Settings, mlflow: MlflowClient
) -> None:
    first = experiment_id(settings)
    assert experiment_id(settings) == first
    experiment = mlflow.get_experiment(first)
    assert experiment.name == EXPERIMENT
    assert "checkpoints" in experiment.tags["mlflow.note.content"].lower()
    assert experiment.artifact_location == (settings.home / "mlflow" / "artifacts").as_uri()


def test_a_deleted_experiment_is_restored(settings: Settings, mlflow: MlflowClient) -> None:
    first = experiment_id(settings)
    mlflow.delete_experiment(first)
    assert experiment_id(settings) == first
    assert mlflow.get_experiment(first).lifecycle_stage == "active"


def test_processes_that_open_a_fresh_store_at_once_all_work(tmp_path: Path) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, str(tmp_path / "home")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    results = [(opener.communicate(timeout=120), opener.returncode) for opener in openers]
    assert [code for _, code in results] == [0, 0, 0], [errors for (_, errors), _ in results]
    assert len({out for (out, _), _ in results}) == 1


def test_the_environment_of_the_user_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    prepare_environment()
    import os

    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_an_unreachable_server_gives_an_error_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings(
        home=tmp_path, mlflow_tracking_uri=f"http://someone:{SECRET}@127.0.0.1:9/", mlflow_ui_url="http://x:1"
    )
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9/ cannot be used") as caught:
        experiment_id(settings)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    assert "someone" not in shown


def test_errors_of_a_database_are_shown_without_the_password() -> None:
    uri = f"postgresql://someone:{SECRET}@db.example/mlflow?sslpassword=alsosecret"
    with pytest.raises(TrackingError) as caught, talking_to(uri):
        raise RuntimeError(f"could not connect to {uri} as hunter2!x")
    shown = "".join(traceback.format_exception(caught.value))
    assert "db.example" in shown
    for secret in ("hunter2", "someone", "alsosecret"):
        assert secret not in shown


def test_links_carry_no_credentials(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, mlflow_ui_url=f"https://someone:{SECRET}@mlflow.example/base/")
    assert run_url(settings, "1", "r") == "https://mlflow.example/base/#/experiments/1/runs/r"
    assert compare_url(settings, "1") == (
        "https://mlflow.example/base/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART"
    )


def test_a_uri_without_credentials_is_shown_as_it_is() -> None:
    assert display_uri("sqlite:////a/mlflow.db") == "sqlite:////a/mlflow.db"
    assert display_uri("http://host:5000/mlflow") == "http://host:5000/mlflow"
    assert redact("nothing to hide", "http://host:5000") == "nothing to hide"


def test_a_sqlite_store_of_the_users_own_is_created_where_it_says(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", mlflow_tracking_uri=f"sqlite:///{tmp_path}/own/m.db")
    assert client(settings).search_experiments()
    assert (tmp_path / "own" / "m.db").is_file()
