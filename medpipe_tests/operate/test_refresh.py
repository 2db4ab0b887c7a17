"""A refresh by one setting: new data, and annealed again from an earlier run's stable checkpoint."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner

from medpipe.cli import app
from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.operate.demo import _collect
from medpipe.operate.instance import open_instance
from medpipe.operate.materialise import MaterialisedRun, materialise
from medpipe.pretrain.configured import configured_plan
from medpipe.pretrain.curriculum import FinishedStage, finished_stages
from medpipe.pretrain.plan import STAGES, PlanError, builtin_plans
from medpipe.settings import Settings
from medpipe.tracking.spool import read_events
from medpipe.tracking.store import client
from medpipe_tests.making import article

STEPS = 8
CATALOG = """
sources:
  - {id: web, title: Web, description: Text., repository: nobody/web, kind: document, language: zh,
     files: [{path: "*.jsonl", domain: general}], layout: {layout: text}, licence: {name: null},
     uses: [pretraining]}
  - {id: guide, title: Guide, description: Text., repository: nobody/guide, kind: document, language: zh,
     files: [{path: "*.jsonl", domain: disease}], layout: {layout: text}, licence: {name: null},
     uses: [pretraining]}
"""


def write_records(path: Path, numbers: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": article(n)}, ensure_ascii=False) + "\n" for n in numbers))


def write_plan(path: Path) -> Path:
    plan: dict[str, Any] = yaml.safe_load(builtin_plans()["tiny"].read_text(encoding="utf-8"))
    plan |= {"name": "small", "tokenizer": {"vocabulary_size": 512}, "checkpoint_every_steps": 4}
    for stage in plan["stages"]:
        stage["tokens"] = STEPS * plan["batch_sequences"] * plan["sequence_length"]
    path.write_text(yaml.safe_dump(plan, allow_unicode=True), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Refreshed:
    settings: Settings
    """Of the first run."""
    again: Settings
    """With the one setting."""
    first: list[FinishedStage]
    second: list[FinishedStage]
    run: MaterialisedRun
    """The second."""
    untouched: bool
    """Every file of the first run is as it was."""

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Refreshed:
    folder = tmp_path_factory.mktemp("refresh")
    (folder / "sources").mkdir()
    (folder / "sources" / "catalog.yaml").write_text(CATALOG)
    write_records(folder / "hub/nobody/web/a.jsonl", range(60))
    write_records(folder / "hub/nobody/guide/a.jsonl", range(1000, 1060))
    settings = Settings(
        home=folder / "home",
        hub=folder / "hub",
        sources=folder / "sources",
        plan=str(write_plan(folder / "plan.yaml")),
    )
    lake = Lake(settings.lake)
    share = {"config": {"validation_share": 0.1}}
    ops: dict[str, Any] = {"corpus__documents": share}
    materialise(settings, run_config={"ops": ops})
    first = finished_stages(configured_plan(settings), lake)
    before = content(lake.runs("small"))
    write_records(folder / "hub/nobody/guide/b.jsonl", range(2000, 2040))
    ops |= {f"raw__{source}": {"config": {"refresh": True}} for source in ("web", "guide")}
    again = settings.model_copy(update={"start_from": "small"})
    run = materialise(again, run_config={"ops": ops})
    second = finished_stages(configured_plan(again), lake)
    after = content(lake.runs("small"))
    untouched = {name: after.get(name) for name in before} == before
    return Refreshed(settings, again, first, second, run, untouched)


def stage_file(stage: FinishedStage) -> dict[str, Any]:
    facts: dict[str, Any] = orjson.loads((stage.run_folder / "stage.json").read_bytes())
    return facts


@pytest.mark.slow
def test_only_what_is_behind_the_checkpoint_is_trained_on_the_new_data(refreshed: Refreshed) -> None:
    pretrained = {f"pretrain/{stage}" for stage in STAGES}
    assert pretrained & set(refreshed.run.reused) == {"pretrain/fast", "pretrain/stable"}
    assert refreshed.untouched
    folders = [[stage.run_folder for stage in each] for each in (refreshed.first, refreshed.second)]
    assert folders[0][:2] == folders[1][:2] and not set(folders[0][2:]) & set(folders[1][2:])
    snapshots = [
        {stage_file(s)["snapshot"] for s in each} for each in (refreshed.first, refreshed.second[2:])
    ]
    assert len(snapshots[0]) == len(snapshots[1]) == 1 and snapshots[0] != snapshots[1]
    # The first run is still a finished one: by its own pin, not the newest snapshot.
    assert finished_stages(configured_plan(refreshed.settings), refreshed.lake) == refreshed.first


@pytest.mark.slow
def test_it_goes_on_at_the_step_and_the_rate_of_the_stable_checkpoint(refreshed: Refreshed) -> None:
    stable, anneal = refreshed.first[1], refreshed.second[2]
    assert [stage.result.first_step for stage in refreshed.second] == [0, STEPS, 2 * STEPS, 3 * STEPS]
    begun = stage_file(anneal)["start_from"]
    assert begun["step"] == 2 * STEPS and begun["checkpoint"] == stable.checkpoint.as_posix()
    assert begun["snapshot"] == stage_file(stable)["snapshot"]
    assert stage_file(anneal)["parent"] == stable.result.digest

    def rates(stage: FinishedStage) -> list[float]:
        events = read_events(stage.run_folder / "metrics.jsonl")
        return [e.values["train/learning_rate"] for e in events if e.kind == "metrics"]

    assert rates(anneal) == rates(refreshed.first[2])
    assert rates(anneal)[0] == pytest.approx(rates(stable)[-1], rel=0.2)
    assert anneal.result.tokens_by_source != refreshed.first[2].result.tokens_by_source


def parent_run(mlflow: MlflowClient, snapshot: str) -> Any:
    (experiment,) = mlflow.search_experiments(filter_string="name = 'medpipe'")
    runs = mlflow.search_runs([experiment.experiment_id], "tags.`medpipe.curriculum` != ''")
    (found,) = [run for run in runs if run.data.params["corpus_snapshot"] == snapshot]
    return found


@pytest.mark.slow
def test_the_lineage_stands_in_mlflow_and_in_dagster(refreshed: Refreshed) -> None:
    mlflow = client(refreshed.settings)
    old, new = (stage_file(each[3])["snapshot"] for each in (refreshed.first, refreshed.second))
    earlier, run = parent_run(mlflow, old), parent_run(mlflow, new)
    anneal = stage_file(refreshed.second[2])
    expected = {
        "run": anneal["parent_run"],
        "stage": "stable",
        "checkpoint": anneal["start_from"]["content"],
        "step": str(2 * STEPS),
        "snapshot": old,
        "mlflow_run": earlier.info.run_id,
    }
    for name, value in expected.items():
        assert run.data.tags[f"medpipe.start_from.{name}"] == value
        assert run.data.params[f"start_from.{name}"] == value
    assert earlier.info.run_id in run.data.tags["medpipe.start_from.mlflow_url"]
    assert not [tag for tag in earlier.data.tags if tag.startswith("medpipe.start_from")]
    steps = sorted(point.step for point in mlflow.get_metric_history(run.info.run_id, "train/loss"))
    assert steps == list(range(1, 4 * STEPS + 1)), "one line over the whole curriculum"

    import dagster as dg

    with open_instance(refreshed.settings) as instance:
        seen = {}
        for stage in STAGES:
            event = instance.get_latest_materialization_event(dg.AssetKey(["pretrain", stage]))
            assert event is not None and event.asset_materialization is not None
            seen[stage] = event.asset_materialization.metadata
    assert seen["stable"]["taken over from"].value == anneal["parent_run"]
    (origin,) = seen["anneal"]["goes on from"].value.records  # type: ignore[union-attr]
    assert origin.data["run"] == anneal["parent_run"] and origin.data["its corpus snapshot"] == old
    assert seen["anneal"]["corpus snapshot"].value == new


@pytest.mark.slow
def test_the_report_and_lineage_are_those_of_the_new_run(refreshed: Refreshed) -> None:
    facts = _collect(refreshed.again, run_id=refreshed.run.run_id, reused=[], seconds=0.0)
    assert [stage["checkpoint"] for stage in facts.stages] == [
        stage.checkpoint.as_posix() for stage in refreshed.second
    ]
    assert facts.mlflow_run != _collect(refreshed.settings, run_id="x", reused=[], seconds=0.0).mlflow_run

    from medpipe.lineage.step import documents_of_step
    from medpipe.lineage.trace import TraceOptions, trace
    from medpipe.pretrain.seen import find_run

    folder = refreshed.second[2].run_folder
    run = find_run(refreshed.lake, folder.as_posix())
    assert run.parent_folder == refreshed.first[1].run_folder
    fresh: dict[str, int] = {}
    for step in range(2 * STEPS + 1, 3 * STEPS + 1):
        shown = documents_of_step(refreshed.lake, run, step, trained_to=3 * STEPS)
        assert shown.taken
        for document in shown.documents:
            if document.path == "b.jsonl":
                fresh.setdefault(document.id, step)
    assert fresh, "the new records are in no step"
    record, step = next(iter(fresh.items()))
    traced = trace(refreshed.lake, {}, record_id=record, options=TraceOptions(run=folder.as_posix()))
    text = json.dumps(_plain(traced), default=str)
    assert str(step) in text and folder.name in text


def _plain(value: Any) -> Any:
    from dataclasses import asdict

    return asdict(value)


@pytest.mark.slow
def test_plan_check_sees_the_same_plan(refreshed: Refreshed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPIPE_HOME", str(refreshed.settings.home))
    command = ["plan", "check", refreshed.settings.plan, "--start-from", "small", "--json"]
    out = CliRunner().invoke(app, command)
    assert out.exit_code == 0, out.output
    facts = json.loads(out.stdout)
    assert (facts["start_from"]["at"], facts["start_from"]["step"]) == ("anneal", 2 * STEPS)
    monkeypatch.setenv("MEDPIPE_START_FROM", "small")
    assert json.loads(CliRunner().invoke(app, [*command[:3], "--json"]).stdout) == facts


def test_a_run_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, plan=str(write_plan(tmp_path / "plan.yaml")), start_from="../small")
    with pytest.raises(PlanError, match=r"MEDPIPE_START_FROM \(--start-from\) \.\./small.*\n?.*start_from"):
        configured_plan(settings)
    assert configured_plan(settings.model_copy(update={"start_from": None})).start_from is None
    shutil.rmtree(tmp_path / "lake", ignore_errors=True)
