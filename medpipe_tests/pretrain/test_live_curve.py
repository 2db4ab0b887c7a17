from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from medpipe.pretrain import live_curve
from medpipe.pretrain.assets import build_stage_assets, stage_key
from medpipe.pretrain.configured import configured_plan
from medpipe.pretrain.live_curve import MOST_POINTS, LiveCurve, shown_values
from medpipe.pretrain.plan import builtin_plans
from medpipe.pretrain.tracked import track_stage
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tracking.spool import Event, Spool
from medpipe_tests.pretrain.corpus import Corpus

STEPS = 240


def test_points_are_spread_over_the_stage_and_the_last_one_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    shown: list[int] = []
    curve = LiveCurve(path, lambda event: shown.append(event.step), steps=1000)
    curve.look()
    with Spool(path) as spool:
        for step in range(1, 1000):
            spool.metrics({"train/loss": 1.0}, step=step, tokens=step)
            curve.look()
        curve.look(is_last=True)
        curve.look(is_last=True)
    assert shown == [*range(1, 1000, 10), 999]
    assert len(shown) <= MOST_POINTS + 1


def test_what_is_not_finite_is_left_out_of_a_point(tmp_path: Path) -> None:
    points: list[dict[str, int | float]] = []
    with Spool(tmp_path / "metrics.jsonl") as spool:
        spool.metrics(
            {"train/loss": 1.5, "train/learning_rate": float("nan"), "other": 2.0}, step=3, tokens=7
        )
    LiveCurve(tmp_path / "metrics.jsonl", lambda event: points.append(shown_values(event)), steps=10).look()
    assert points == [{"step": 3, "tokens": 7, "loss": 1.5}]


def test_a_viewer_that_fails_ends_the_curve_only(tmp_path: Path) -> None:
    called = threading.Event()

    def show(_: Event) -> None:
        called.set()
        raise OSError("database is locked")

    path = tmp_path / "metrics.jsonl"
    with Spool(path) as spool, LiveCurve(path, show, steps=10).following(interval_s=0.01) as curve:
        spool.metrics({"train/loss": 1.0}, step=1, tokens=1)
        assert called.wait(20)
        called.clear()
        spool.metrics({"train/loss": 1.0}, step=2, tokens=2)
    assert curve.error == "OSError: database is locked"
    assert not called.is_set()


@pytest.mark.slow
def test_dagster_has_the_curve_while_the_stage_trains(
    own_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(live_curve, "INTERVAL_S", 0.05)
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    values["stages"][0]["tokens"] = STEPS * values["sequence_length"] * values["batch_sequences"]
    values["checkpoint_every_steps"] = STEPS
    plan_file = tmp_path / "plan.yaml"
    plan_file.write_text(yaml.safe_dump(values, allow_unicode=True))
    settings = Settings(home=tmp_path / "home", lake_root=own_corpus.lake.root, plan=str(plan_file))
    key = stage_key("fast")
    fast = build_stage_assets(configured_plan(settings), settings=settings, lake=own_corpus.lake)[0]
    resources = {"pipes": dg.PipesSubprocessClient(), "form": RunForm()}
    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([fast], resources=resources, instance=instance).success
        found = instance.fetch_observations(key, limit=1000, ascending=True).records
        made = track_stage("fast", settings=settings, lake=own_corpus.lake, dagster=None)
        # It was in the event log before the trainer had come to its end.
        assert found[0].timestamp < (made.folder / "result.json").stat().st_mtime
        points = [record.asset_observation for record in found]
        metadata: list[dict[str, Any]] = [
            {name: entry.value for name, entry in p.metadata.items()} for p in points if p
        ]
        steps = [entry["step"] for entry in metadata]
        assert steps == sorted(set(steps))
        assert 2 <= len(steps) <= MOST_POINTS + 1
        assert steps[-1] == STEPS
        names = {"step", "tokens", "loss", "learning rate", "tokens per second"}
        assert all(set(entry) == names for entry in metadata)
        assert metadata[-1]["loss"] == pytest.approx(made.finished().result.loss_last)
        # A click that trains nothing adds nothing.
        assert dg.materialize([fast], resources=resources, instance=instance).success
        again = instance.fetch_observations(key, limit=1000).records
        assert len(again) == len(found)
