"""A store of their own for each test, and what a small trainer would write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medpipe.settings import Settings
from medpipe.tracking.facts import CurriculumFacts, DatasetFacts, StageFacts
from medpipe.tracking.runs import StageRuns, begin_stage
from medpipe.tracking.spool import Spool
from medpipe.tracking.store import client, ensure_store

PLAN = "name: tiny\nstages:\n- name: fast\n"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables and no run: making one takes MLflow two seconds."""
    settings = Settings(home=tmp_path_factory.mktemp("store"))
    ensure_store(settings)
    return settings.mlflow_home / "mlflow.db"


@pytest.fixture
def settings(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = Settings(home=tmp_path / "home")
    settings.mlflow_home.mkdir(parents=True)
    shutil.copy(empty_store, settings.mlflow_home / "mlflow.db")
    return settings


@pytest.fixture
def mlflow(settings: Settings) -> MlflowClient:
    return client(settings)


def curriculum(digest: str = "c" * 32) -> CurriculumFacts:
    return CurriculumFacts(
        name="tiny",
        digest=digest,
        plan_yaml=PLAN,
        params={"model": {"hidden_size": 64}, "stages": [{"name": "fast", "tokens": 1000}]},
        tokenizer="t" * 32,
        snapshot="s" * 32,
        revisions={"wiki_cn": "main-abc"},
    )


def stage(name: str = "fast", *, last: bool = False, complete: bool = False) -> StageFacts:
    return StageFacts(
        name=name,
        digest=f"{name}-digest",
        seed=7,
        last=last,
        complete=complete,
        params={"tokens": 1000, "mixture": {"general": 0.5, "dialogue": 0.5}},
        datasets=(
            DatasetFacts(name="shards/general/wiki_cn", digest="d" * 64, uri="/lake/shards/general/wiki_cn"),
        ),
    )


def write_checkpoint(folder: Path, *, weight: float = 1.0) -> Path:
    """A checkpoint folder with real safetensors, an optimizer beside them and a manifest."""
    import numpy as np
    import orjson
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    save_file({"weight": np.full(4, weight, dtype=np.float32)}, folder / "model.safetensors")
    save_file({"moment": np.ones(8, dtype=np.float32)}, folder / "optimizer.safetensors")
    (folder / "config.json").write_text('{"hidden_size": 64}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "manifest.json").write_bytes(orjson.dumps({"digest": f"{weight:032f}"}))
    return folder


def points(mlflow: MlflowClient, run_id: str, key: str = "train/loss") -> list[tuple[int, float]]:
    """Step and value of every point of a metric, in step order, doubles included."""
    return sorted((point.step, point.value) for point in mlflow.get_metric_history(run_id, key))


@pytest.fixture
def runs(settings: Settings) -> StageRuns:
    return begin_stage(settings, curriculum=curriculum(), stage=stage())


def train(spool: Spool, steps: range) -> None:
    for step in steps:
        spool.metrics({"train/loss": 10.0 / step, "train/learning_rate": 0.1}, step=step, tokens=100 * step)


def expected(steps: range) -> list[tuple[int, float]]:
    return [(step, 10.0 / step) for step in steps]
