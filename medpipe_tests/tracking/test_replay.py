from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medpipe.settings import Settings
from medpipe.tracking.replay import SpoolReplay
from medpipe.tracking.runs import StageRuns, begin_stage
from medpipe.tracking.spool import Spool
from medpipe_tests.tracking.conftest import curriculum, expected, points, stage, train


def test_both_runs_get_every_step_once(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path
) -> None:
    replay = SpoolReplay(settings, tmp_path / "metrics.jsonl", runs)
    assert replay.poll()
    with Spool(tmp_path / "metrics.jsonl") as spool:
        train(spool, range(1, 6))
        assert replay.pending == 5
        assert replay.poll()
        train(spool, range(6, 11))
        assert replay.poll()
        assert replay.poll()
    assert (replay.pending, replay.last_error) == (0, None)
    for run_id in (runs.parent_run_id, runs.stage_run_id):
        assert points(mlflow, run_id) == expected(range(1, 11))
        assert points(mlflow, run_id, "train/tokens") == [(s, 100.0 * s) for s in range(1, 11)]
    (first, *_) = mlflow.get_metric_history(runs.stage_run_id, "train/loss")
    assert abs(first.timestamp / 1000 - time.time()) < 60


def test_more_than_one_batch(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path
) -> None:
    with Spool(tmp_path / "metrics.jsonl") as spool:
        train(spool, range(1, 801))
    replay = SpoolReplay(settings, spool.path, runs)
    assert replay.poll()
    assert replay.sent == 2 * 3 * 800
    assert points(mlflow, runs.parent_run_id) == expected(range(1, 801))


def test_a_new_process_sends_only_what_is_missing(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path
) -> None:
    with Spool(tmp_path / "metrics.jsonl") as spool:
        train(spool, range(1, 6))
        assert SpoolReplay(settings, spool.path, runs).poll()
        train(spool, range(6, 9))
        second = SpoolReplay(settings, spool.path, runs)
        assert second.poll()
    assert second.sent == 2 * 3 * 3
    assert points(mlflow, runs.parent_run_id) == expected(range(1, 9))


@pytest.mark.parametrize("same_process", [True, False])
def test_a_trainer_that_resumes_doubles_nothing(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path, same_process: bool
) -> None:
    path = tmp_path / "metrics.jsonl"
    replay = SpoolReplay(settings, path, runs)
    with Spool(path) as spool:
        train(spool, range(1, 9))
        assert replay.poll()
    if not same_process:
        replay = SpoolReplay(settings, path, runs)
    with Spool(path) as spool:
        spool.truncate_after(4)
        assert replay.poll()
        train(spool, range(5, 13))
    assert replay.poll()
    for run_id in (runs.parent_run_id, runs.stage_run_id):
        assert points(mlflow, run_id) == expected(range(1, 13))


def test_a_stage_that_was_left_before_its_end_goes_on_in_another_run(
    settings: Settings, mlflow: MlflowClient, tmp_path: Path
) -> None:
    taken = begin_stage(settings, curriculum=curriculum(), stage=stage("stable", complete=True))
    own = begin_stage(settings, curriculum=curriculum(), stage=stage("anneal"))
    with Spool(tmp_path / "taken.jsonl") as earlier, Spool(tmp_path / "own.jsonl") as later:
        train(earlier, range(1, 11))
        for step in range(7, 10):
            later.metrics({"train/loss": 100.0 + step}, step=step, tokens=100 * step)
    replay = SpoolReplay(settings, earlier.path, taken, last_step=6)
    assert replay.pending == 6
    assert replay.poll() and replay.pending == 0
    assert SpoolReplay(settings, later.path, own).poll()
    branch = [(step, 100.0 + step) for step in range(7, 10)]
    assert points(mlflow, taken.parent_run_id) == expected(range(1, 7)) + branch
    assert points(mlflow, taken.stage_run_id) == expected(range(1, 7))
    assert points(mlflow, own.stage_run_id) == branch


def test_a_stage_that_lagged_behind_fills_its_gap_in_the_parent(
    settings: Settings, mlflow: MlflowClient, tmp_path: Path
) -> None:
    fast = begin_stage(settings, curriculum=curriculum(), stage=stage("fast"))
    stable = begin_stage(settings, curriculum=curriculum(), stage=stage("stable"))
    with Spool(tmp_path / "fast.jsonl") as one, Spool(tmp_path / "stable.jsonl") as two:
        train(one, range(1, 4))
        assert SpoolReplay(settings, one.path, fast).poll()
        train(one, range(4, 7))
        train(two, range(7, 10))
    assert SpoolReplay(settings, two.path, stable).poll()
    assert SpoolReplay(settings, one.path, fast).poll()
    assert points(mlflow, fast.parent_run_id) == expected(range(1, 10))
    assert points(mlflow, fast.stage_run_id) == expected(range(1, 7))
    assert points(mlflow, stable.stage_run_id) == expected(range(7, 10))


def test_a_power_cut_between_the_two_runs_doubles_nothing(
    settings: Settings,
    runs: StageRuns,
    mlflow: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "metrics.jsonl"
    log_batch = MlflowClient.log_batch

    def only_the_parent(self: MlflowClient, run_id: str, **batch: object) -> object:
        if run_id == runs.stage_run_id:
            raise OSError("no power")
        return log_batch(self, run_id, **batch)

    with Spool(path) as spool:
        train(spool, range(1, 4))
        assert SpoolReplay(settings, path, runs).poll()
        train(spool, range(4, 9))
        with monkeypatch.context() as cut:
            cut.setattr(MlflowClient, "log_batch", only_the_parent)
            assert not SpoolReplay(settings, path, runs).poll()
        spool.truncate_after(2)
        replay = SpoolReplay(settings, path, runs)
        assert replay.poll()
        time.sleep(0.01)
        train(spool, range(3, 11))
        assert replay.poll()
    for run_id in (runs.parent_run_id, runs.stage_run_id):
        assert points(mlflow, run_id) == expected(range(1, 11))


def test_a_stage_that_is_sent_already_asks_for_no_history(
    settings: Settings, mlflow: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, steps in (("fast", range(1, 4)), ("stable", range(4, 7))):
        stage_runs = begin_stage(settings, curriculum=curriculum(), stage=stage(name))
        with Spool(tmp_path / f"{name}.jsonl") as spool:
            train(spool, steps)
        assert SpoolReplay(settings, spool.path, stage_runs).poll()

    def refuse(*_: object) -> None:
        raise AssertionError("a whole history is too much to ask for")

    monkeypatch.setattr(MlflowClient, "get_metric_history", refuse)
    fast = begin_stage(settings, curriculum=curriculum(), stage=stage("fast", complete=True))
    replay = SpoolReplay(settings, tmp_path / "fast.jsonl", fast)
    assert replay.poll()
    assert replay.sent == 0


def test_two_events_of_one_step_are_one_point(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path
) -> None:
    with Spool(tmp_path / "metrics.jsonl") as spool:
        spool.metrics({"eval/bits_per_byte/all": 2.0}, step=3, tokens=1)
        spool.metrics({"train/loss": 2.0}, step=3, tokens=1)
        time.sleep(0.01)  # MLflow itself would drop a point of the same millisecond.
        spool.checkpoint("gone", name="gone", step=3, tokens=1, values={"eval/bits_per_byte/all": 2.0})
    assert SpoolReplay(settings, spool.path, runs).poll()
    assert points(mlflow, runs.parent_run_id, "eval/bits_per_byte/all") == [(3, 2.0)]
    assert points(mlflow, runs.stage_run_id) == [(3, 2.0)]


def test_a_loss_that_is_not_finite_arrives_as_nan(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path
) -> None:
    with Spool(tmp_path / "metrics.jsonl") as spool:
        spool.metrics({"train/loss": math.inf}, step=1, tokens=1)
    assert SpoolReplay(settings, spool.path, runs).poll()
    ((step, value),) = points(mlflow, runs.stage_run_id)
    assert step == 1
    assert math.isnan(value)


def test_a_broken_spool_is_reported_by_name_and_raises_nothing(
    settings: Settings, runs: StageRuns, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("not json\n")
    replay = SpoolReplay(settings, path, runs)
    assert not replay.poll()
    assert replay.last_error is not None
    assert "metrics.jsonl has a broken line at byte 0" in replay.last_error


def test_following_sends_while_the_block_runs_and_ends_the_runs(
    settings: Settings, mlflow: MlflowClient, tmp_path: Path
) -> None:
    replay = SpoolReplay(
        settings,
        tmp_path / "metrics.jsonl",
        lambda: begin_stage(settings, curriculum=curriculum(), stage=stage(last=True)),
    )
    with replay.following(interval_s=0.05), Spool(tmp_path / "metrics.jsonl") as spool:
        train(spool, range(1, 4))
        deadline = time.monotonic() + 60
        while replay.sent < 18 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert replay.runs is not None
        assert points(mlflow, replay.runs.parent_run_id) == expected(range(1, 4))
        train(spool, range(4, 7))
    assert points(mlflow, replay.runs.parent_run_id) == expected(range(1, 7))
    for run_id in (replay.runs.parent_run_id, replay.runs.stage_run_id):
        assert mlflow.get_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_stage_that_does_not_end_well_says_so(
    settings: Settings,
    runs: StageRuns,
    mlflow: MlflowClient,
    tmp_path: Path,
    error: type[BaseException],
    status: str,
) -> None:
    replay = SpoolReplay(settings, tmp_path / "metrics.jsonl", runs)
    with pytest.raises(error), replay.following(interval_s=0.05), Spool(tmp_path / "metrics.jsonl") as spool:
        train(spool, range(1, 3))
        raise error
    assert points(mlflow, runs.stage_run_id) == expected(range(1, 3))
    assert mlflow.get_run(runs.stage_run_id).info.status == status
    assert mlflow.get_run(runs.parent_run_id).info.status == status
