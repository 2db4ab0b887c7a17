"""A checkpoint in the spool becomes a LoggedModel with its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medpipe.settings import Settings
from medpipe.tracking.replay import SpoolReplay
from medpipe.tracking.runs import StageRuns, begin_stage
from medpipe.tracking.spool import Spool
from medpipe_tests.tracking.conftest import curriculum, expected, points, stage, train, write_checkpoint


def test_a_checkpoint_becomes_a_model_with_its_weights_and_measures(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "checkpoints" / "00000010")
    values = {"eval/bits_per_byte/all": 1.5, "eval/bits_per_byte/dialogue": 1.25}
    with Spool(tmp_path / "metrics.jsonl") as spool:
        train(spool, range(1, 11))
        spool.checkpoint("checkpoints/00000010", name="fast-00000010", step=10, tokens=1000, values=values)
    replay = SpoolReplay(settings, spool.path, runs)
    assert replay.poll()
    assert SpoolReplay(settings, spool.path, runs).poll()

    (model,) = mlflow.search_logged_models(
        [runs.experiment_id],
        filter_string="metrics.`eval/bits_per_byte/all` < 2 AND params.stage = 'fast'",
        order_by=[{"field_name": "metrics.eval/bits_per_byte/all", "ascending": True}],
    )
    assert replay.models == {"fast-00000010": model.model_id}
    assert (model.name, str(model.status), model.model_type) == ("tiny-fast-00000010", "READY", "checkpoint")
    assert model.source_run_id == runs.stage_run_id
    assert model.params == {"step": "10", "tokens": "1000", "stage": "fast"}
    assert len(model.tags["sha256"]) == 64
    assert {metric.key: metric.value for metric in model.metrics} == values
    assert len(model.metrics) == 2
    files = {file.path: file.file_size for file in mlflow.list_logged_model_artifacts(model.model_id)}
    assert set(files) == {"model.safetensors", "config.json", "tokenizer.json", "manifest.json"}
    assert files["model.safetensors"] == (tmp_path / "checkpoints/00000010/model.safetensors").stat().st_size
    for run_id in (runs.parent_run_id, runs.stage_run_id):
        assert points(mlflow, run_id, "eval/bits_per_byte/all") == [(10, 1.5)]
        assert [output.model_id for output in mlflow.get_run(run_id).outputs.model_outputs] == [
            model.model_id
        ]


def test_an_upload_that_was_cut_short_is_finished_later(
    settings: Settings,
    runs: StageRuns,
    mlflow: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_checkpoint(tmp_path / "checkpoints" / "1")
    with Spool(tmp_path / "metrics.jsonl") as spool:
        spool.checkpoint("checkpoints/1", name="fast-1", step=1, tokens=1, values={"eval/x": 1.0})
        replay = SpoolReplay(settings, spool.path, runs)

        def refuse(*_: object) -> None:
            raise OSError("the artifact store is full")

        with monkeypatch.context() as broken:
            broken.setattr(MlflowClient, "log_model_artifact", refuse)
            assert not replay.poll()
        assert replay.last_error is not None
        assert "the artifact store is full" in replay.last_error
        assert replay.pending == 1
        (model,) = mlflow.search_logged_models([runs.experiment_id])
        assert str(model.status) == "PENDING"
        # The measures did not have to wait for the weights.
        assert points(mlflow, runs.parent_run_id, "eval/x") == [(1, 1.0)]
        train(spool, range(2, 4))
        assert replay.poll()
    (model,) = mlflow.search_logged_models([runs.experiment_id])
    assert str(model.status) == "READY"
    assert points(mlflow, runs.parent_run_id, "eval/x") == [(1, 1.0)]
    assert points(mlflow, runs.parent_run_id) == expected(range(2, 4))


def test_a_checkpoint_that_was_deleted_keeps_its_measures(
    settings: Settings,
    runs: StageRuns,
    mlflow: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_checkpoint(tmp_path / "checkpoints" / "2", weight=2.0)
    with Spool(tmp_path / "metrics.jsonl") as spool:
        spool.checkpoint("checkpoints/1", name="fast-1", step=1, tokens=1, values={"eval/x": 3.0})
        spool.checkpoint("checkpoints/2", name="fast-2", step=2, tokens=2, values={"eval/x": 2.0})
    replay = SpoolReplay(settings, spool.path, runs)
    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_model_artifact", lambda *_: shutil.rmtree(tmp_path / "nowhere"))
        assert not replay.poll()
    shutil.rmtree(tmp_path / "checkpoints")
    assert replay.poll()
    assert points(mlflow, runs.parent_run_id, "eval/x") == [(1, 3.0), (2, 2.0)]
    (model,) = mlflow.search_logged_models([runs.experiment_id])
    assert (model.name, str(model.status)) == ("tiny-fast-2", "FAILED")


def test_curricula_that_share_a_stage_share_its_checkpoint(
    settings: Settings, runs: StageRuns, mlflow: MlflowClient, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "checkpoints" / "1")
    with Spool(tmp_path / "metrics.jsonl") as spool:
        train(spool, range(1, 4))
        spool.checkpoint("checkpoints/1", name="fast-1", step=3, tokens=1, values={"eval/x": 1.0})
    assert SpoolReplay(settings, spool.path, runs).poll()
    other = begin_stage(settings, curriculum=curriculum("f" * 32), stage=stage(complete=True))
    assert SpoolReplay(settings, spool.path, other).poll()
    (model,) = mlflow.search_logged_models([runs.experiment_id])
    assert points(mlflow, other.parent_run_id) == expected(range(1, 4))
    assert [o.model_id for o in mlflow.get_run(other.parent_run_id).outputs.model_outputs] == [model.model_id]
