"""The replay against a real MLflow server on loopback that dies in the middle."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from medpipe.settings import Settings
from medpipe.tracking.replay import SpoolReplay
from medpipe.tracking.runs import begin_stage
from medpipe.tracking.spool import Spool
from medpipe.tracking.store import client
from medpipe_tests.tracking.conftest import curriculum, points, stage, write_checkpoint
from medpipe_tests.tracking.mlflow_server import free_port, kill, serving, wait_for

pytestmark = pytest.mark.slow


def test_a_server_that_dies_and_comes_back_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    port = free_port()
    settings = Settings(home=tmp_path / "home", mlflow_tracking_uri=f"http://127.0.0.1:{port}")
    write_checkpoint(tmp_path / "run" / "checkpoints" / "00000060")
    path = tmp_path / "run" / "metrics.jsonl"
    slowest = 0.0

    def train(spool: Spool, steps: range) -> None:
        nonlocal slowest
        for step in steps:
            before = time.monotonic()
            spool.metrics({"train/loss": 1.0 / step}, step=step, tokens=step)
            slowest = max(slowest, time.monotonic() - before)
            time.sleep(0.005)

    replay = SpoolReplay(
        settings, path, lambda: begin_stage(settings, curriculum=curriculum(), stage=stage(last=True))
    )
    with Spool(path) as spool, replay.following(interval_s=0.2, drain_s=60):
        train(spool, range(1, 11))  # Nobody serves yet.
        wait_for(lambda: replay.last_error is not None)
        assert replay.runs is None
        with serving(tmp_path, port) as server:
            wait_for(lambda: replay.sent >= 2 * 2 * 10)
            train(spool, range(11, 31))
            kill(server)
        train(spool, range(31, 61))
        wait_for(lambda: replay.last_error is not None)
        spool.checkpoint("checkpoints/00000060", name="fast-60", step=60, tokens=60, values={"eval/x": 1.0})
        assert replay.pending > 0
        spool.truncate_after(40)  # The trainer is killed too, and resumes.
        train(spool, range(41, 61))
        spool.checkpoint("checkpoints/00000060", name="fast-60", step=60, tokens=60, values={"eval/x": 1.0})
        second = serving(tmp_path, port)
        second.__enter__()
        train(spool, range(61, 81))
    try:
        assert slowest < 10
        assert (replay.pending, replay.last_error) == (0, None)
        assert replay.runs is not None
        mlflow = client(settings)
        for run_id in (replay.runs.parent_run_id, replay.runs.stage_run_id):
            assert points(mlflow, run_id) == [(step, 1.0 / step) for step in range(1, 81)]
            assert points(mlflow, run_id, "eval/x") == [(60, 1.0)]
            assert mlflow.get_run(run_id).info.status == "FINISHED"
        (model,) = mlflow.search_logged_models([replay.runs.experiment_id])
        assert str(model.status) == "READY"
        assert [(metric.key, metric.value) for metric in model.metrics] == [("eval/x", 1.0)]
        weights = list((tmp_path / "artifacts").rglob("model.safetensors"))
        assert [file.read_bytes() for file in weights] == [
            (tmp_path / "run/checkpoints/00000060/model.safetensors").read_bytes()
        ]
        assert not list((tmp_path / "artifacts").rglob("optimizer.safetensors"))
        assert list((tmp_path / "artifacts").rglob("plan.yaml"))
    finally:
        second.__exit__(None, None, None)


def test_a_server_that_never_answers_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and says nothing, the worst kind of outage."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        uri = f"http://someone:hunter2@127.0.0.1:{silent.getsockname()[1]}"
        settings = Settings(home=tmp_path, mlflow_tracking_uri=uri)
        replay = SpoolReplay(
            settings,
            tmp_path / "metrics.jsonl",
            lambda: begin_stage(settings, curriculum=curriculum(), stage=stage()),
        )
        before = time.monotonic()
        with Spool(tmp_path / "metrics.jsonl") as spool, replay.following(interval_s=0.1, drain_s=2.0):
            spool.metrics({"train/loss": 1.0}, step=1, tokens=1)
        assert time.monotonic() - before < 9  # one request is given up after ten seconds
        assert replay.pending == 1
