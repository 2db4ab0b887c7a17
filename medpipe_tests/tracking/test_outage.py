"""Real training, followed into a real MLflow server that dies, is slow or is full meanwhile."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from mlflow import MlflowClient

from medpipe.pretrain.assets import build_stage_assets
from medpipe.pretrain.configured import configured_plan
from medpipe.pretrain.launch import trainer_environment
from medpipe.pretrain.plan import builtin_plans
from medpipe.pretrain.tracked import TrackedStage, track_stage
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tracking.runs import StageRuns
from medpipe.tracking.spool import read_events
from medpipe.tracking.store import client
from medpipe_tests.pretrain.corpus import Corpus, build_corpus
from medpipe_tests.tracking.mlflow_server import free_port, kill, serving, wait_for
from medpipe_tests.tracking.proxy import Proxy

pytestmark = pytest.mark.slow

STEPS = 240
CHECKPOINTS = (80, 160, 240)
TOKENS_A_STEP = 1024


@pytest.fixture(autouse=True)
def _no_store_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def server_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that lives through the tests that do not kill it."""
    port = free_port()
    with serving(tmp_path_factory.mktemp("server"), port):
        yield port


def write_plan(folder: Path, *, seed: int) -> Path:
    """The plan `tiny` with a longer first stage; each test has a seed, and so runs, of its own."""
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values |= {"seed": seed, "checkpoint_every_steps": CHECKPOINTS[0], "keep_checkpoints": len(CHECKPOINTS)}
    values["stages"][0]["tokens"] = STEPS * TOKENS_A_STEP
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True))
    return path


class World:
    """A corpus and settings that send to one MLflow server."""

    def __init__(self, folder: Path, *, port: int, seed: int) -> None:
        self.corpus: Corpus = build_corpus(folder / "home" / "lake")
        self.settings = Settings(
            home=folder / "home",
            plan=str(write_plan(folder, seed=seed)),
            mlflow_tracking_uri=f"http://127.0.0.1:{port}",
        )

    def track(self) -> TrackedStage:
        return track_stage("fast", settings=self.settings, lake=self.corpus.lake, dagster=None)

    @contextlib.contextmanager
    def trainer(self, tracked: TrackedStage) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            tracked.command,
            env={**os.environ, **trainer_environment()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=20)

    def click(self, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
        """Materialises the stage as a person does."""
        plan = configured_plan(self.settings)
        fast = build_stage_assets(plan, settings=self.settings, lake=self.corpus.lake)[0]
        return dg.materialize(
            [fast],
            resources={"pipes": dg.PipesSubprocessClient(), "form": RunForm()},
            instance=instance,
            raise_on_error=True,
        )


def assert_complete(mlflow: MlflowClient, tracked: TrackedStage, runs: StageRuns) -> None:
    """MLflow has what the spool has: every value of every step once, and every checkpoint."""
    events = list(read_events(tracked.folder / "metrics.jsonl"))
    assert [event.step for event in events if event.kind == "metrics"] == list(range(1, STEPS + 1))
    spooled = Counter((key, event.step, value) for event in events for key, value in event.values.items())
    keys = {key for key, _, _ in spooled}
    assert {"train/loss", "train/learning_rate", "eval/bits_per_byte/all"} <= keys
    assert all(math.isfinite(value) for _, _, value in spooled)
    for run_id in (runs.stage_run_id, runs.parent_run_id):
        logged = Counter(
            (key, point.step, point.value) for key in keys for point in mlflow.get_metric_history(run_id, key)
        )
        assert logged == spooled
    models = mlflow.search_logged_models([runs.experiment_id])
    own = {
        model.params["step"]: str(model.status)
        for model in models
        if model.source_run_id == runs.stage_run_id
    }
    assert own == {str(step): "READY" for step in CHECKPOINTS}
    assert mlflow.get_run(runs.stage_run_id).info.status == "FINISHED"


def nobody_sends() -> bool:
    return all(thread.name != "mlflow-replay" for thread in threading.enumerate())


def test_a_server_killed_in_mid_run_has_every_step_once_after_the_next_click(tmp_path: Path) -> None:
    port = free_port()
    world = World(tmp_path, port=port, seed=1)
    tracked = world.track()
    with serving(tmp_path, port) as server, tracked.replay.following(interval_s=0.1, drain_s=0.5):
        wait_for(lambda: tracked.replay.runs is not None)
        runs = tracked.replay.runs
        assert runs is not None
        mlflow = client(world.settings)
        with world.trainer(tracked) as trainer:
            wait_for(lambda: mlflow.get_metric_history(runs.stage_run_id, "train/loss"))
            kill(server)
            assert trainer.poll() is None
            assert trainer.wait(timeout=120) == 0
    assert tracked.finished().result.steps == STEPS
    assert tracked.replay.pending > 0
    assert tracked.replay.last_error is not None and f"127.0.0.1:{port}" in tracked.replay.last_error
    wait_for(nobody_sends)
    with serving(tmp_path, port):
        assert mlflow.get_run(runs.stage_run_id).info.status == "RUNNING"
        before = mlflow.get_metric_history(runs.stage_run_id, "train/loss")
        assert 0 < len(before) < STEPS
        again = world.track()
        assert again.complete
        with again.replay.following(interval_s=0.1, drain_s=60):
            pass
        assert (again.replay.pending, again.replay.last_error) == (0, None)
        assert again.replay.runs is not None
        assert again.replay.runs.stage_run_id == runs.stage_run_id
        assert_complete(mlflow, again, runs)


def test_training_goes_on_while_a_slow_server_is_waited_for(tmp_path: Path, server_port: int) -> None:
    with Proxy(server_port).running() as proxy:
        world = World(tmp_path, port=proxy.port, seed=2)
        tracked = world.track()
        spool = tracked.folder / "metrics.jsonl"
        proxy.observe = lambda: sum(1 for _ in read_events(spool))
        proxy.delay_s = 1.0
        with tracked.replay.following(interval_s=0.1, drain_s=180), world.trainer(tracked) as trainer:
            assert trainer.wait(timeout=120) == 0
            # Steps were taken and noted between the arrival of one request and its answer.
            assert max(after - before for before, after in proxy.observed) > 1
        assert (tracked.replay.pending, tracked.replay.last_error) == (0, None)
        proxy.delay_s = 0.0
        assert tracked.replay.runs is not None
        assert_complete(client(world.settings), tracked, tracked.replay.runs)


def refusing(status: int, *parts: str) -> Callable[[str, str], int | None]:
    """Refuses what writes to a path with one of the parts in it."""
    return lambda method, path: (
        status if method in ("POST", "PUT") and any(part in path for part in parts) else None
    )


def warnings(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    logs = instance.all_logs(result.run_id)
    return "\n".join(entry.user_message for entry in logs if int(entry.level) >= logging.WARNING)


def test_a_full_server_is_named_and_filled_by_a_later_click(tmp_path: Path, server_port: int) -> None:
    """Through the asset itself: two clicks, of which only the first trains."""
    with Proxy(server_port).running() as proxy, dg.DagsterInstance.ephemeral() as instance:
        world = World(tmp_path, port=proxy.port, seed=3)
        spool = world.track().folder / "metrics.jsonl"
        full = refusing(507, "/runs/log-batch", "/mlflow-artifacts/")

        def full_in_mid_run(method: str, path: str) -> int | None:
            return full(method, path) if sum(1 for _ in read_events(spool)) >= STEPS // 4 else None

        proxy.refuse = full_in_mid_run
        first = world.click(instance)
        assert first.success
        assert "events are not in MLflow yet" in warnings(instance, first)
        assert "error code 507" in warnings(instance, first)
        assert any("log-batch" in path for path in proxy.refused)

        # Room for metrics, none for files.
        proxy.refuse = refusing(500, "/mlflow-artifacts/")
        again = world.track()
        assert again.complete and again.finished().result.steps == STEPS
        with again.replay.following(interval_s=0.1, drain_s=0.5, finish=False):
            wait_for(lambda: again.replay.last_error is not None)
        wait_for(nobody_sends)
        assert again.replay.runs is not None
        runs = again.replay.runs
        assert again.replay.last_error is not None and "mlflow-artifacts" in again.replay.last_error
        assert again.replay.pending == len(CHECKPOINTS)
        mlflow = client(world.settings)
        assert len(mlflow.get_metric_history(runs.stage_run_id, "train/loss")) == STEPS

        proxy.refuse = refusing(0)
        second = world.click(instance)
        assert warnings(instance, second) == ""
        (materialization,) = second.get_asset_materialization_events()
        assert materialization.materialization.metadata["reused"].value is True
        assert_complete(mlflow, world.track(), runs)
