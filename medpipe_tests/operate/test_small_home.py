"""One small home, made once: what people see of each asset, a refresh by one setting, a form, a check."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner

from medpipe.asset_metadata import MOST_PICTURE_BYTES, PREVIEW_CHARACTERS
from medpipe.automation import PRETRAIN, VERIFY
from medpipe.cli import app
from medpipe.curate.purposes import Purpose, kept_parts
from medpipe.graph import build_definitions
from medpipe.lake.dataset import current
from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.lake.parquet import scan_parts
from medpipe.operate.demo import _collect
from medpipe.operate.instance import open_instance
from medpipe.operate.materialise import MaterialisedRun, materialise
from medpipe.pretrain.configured import configured_plan
from medpipe.pretrain.curriculum import FinishedStage, compile_as_pinned, finished_stages
from medpipe.pretrain.integrity import damaged_checkpoints
from medpipe.pretrain.plan import STAGES, PlanError, load_plan
from medpipe.settings import Settings
from medpipe.tokens.preview import SENTENCES
from medpipe.tracking.spool import read_events
from medpipe.tracking.store import client
from medpipe_tests.making import article
from medpipe_tests.small_home import CATALOG, STEPS, write_plan, write_records

pytestmark = pytest.mark.slow

PHONE, MAIL = "13912345678", "li.na@renmin-yiyuan.cn"
PREVIEWS = ("raw/web", "raw/guide", "tokenizer")
TABLES = ("normalized/web", "normalized/guide", "corpus/documents", "shards/general", "shards/disease")
PICTURES = {
    "corpus/documents": {"funnel", "overlap", "lengths"},
    "snapshot": {"token shares"},
    **{f"pretrain/{stage}": {"mixture"} for stage in ("fast", "stable", "anneal", "converge")},
    "evaluation/bits_per_byte": {"loss", "heat map", "bits per byte by domain"},
}
SHARE: dict[str, Any] = {"corpus__documents": {"config": {"validation_share": 0.1}}}


@dataclass(frozen=True)
class Seen:
    """A home in which everything was materialised once, and what its events say."""

    settings: Settings
    metadata: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("ui")
    (folder / "sources").mkdir()
    (folder / "home" / "plans").mkdir(parents=True)
    (folder / "sources" / "catalog.yaml").write_text(CATALOG)
    write_records(folder / "hub/nobody/web/a.jsonl", range(60))
    with (folder / "hub/nobody/web/a.jsonl").open("r+", encoding="utf-8") as file:
        others = file.read()
        file.seek(0)
        file.write(json.dumps({"text": f"请致电{PHONE}或写信到{MAIL}。{article(60)}"}) + "\n" + others)
    write_records(folder / "hub/nobody/guide/a.jsonl", range(1000, 1060))
    write_plan(folder / "home" / "plans" / "small.yaml")
    settings = Settings(
        home=folder / "home",
        hub=folder / "hub",
        sources=folder / "sources",
        plan=str(folder / "home" / "plans" / "small.yaml"),
    )
    materialise(settings, run_config={"ops": SHARE})
    with open_instance(settings) as instance:
        keys = build_definitions(settings).resolve_asset_graph().materializable_asset_keys
        events = {key.to_user_string(): instance.get_latest_materialization_event(key) for key in keys}
    made = {
        name: dict(event.asset_materialization.metadata)
        for name, event in events.items()
        if event is not None and event.asset_materialization is not None
    }
    assert set(made) == set(events)
    return Seen(settings, made)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_shows_its_columns_rows_and_a_preview(seen: Seen, name: str) -> None:
    shown = seen.metadata[name]
    columns = {column.name: column for column in shown["dagster/column_schema"].schema.columns}
    assert "id" in columns and all(column.description for column in columns.values())
    assert shown["dagster/row_count"].value > 0
    assert len(shown["preview"].records) > 0


@pytest.mark.parametrize("name", (*PREVIEWS, *TABLES))
def test_no_preview_shows_personal_data(seen: Seen, name: str) -> None:
    rows = [record.data for record in seen.metadata[name]["preview"].records]
    assert rows and PHONE not in str(rows) and MAIL not in str(rows)
    if name in ("raw/web", "normalized/web"):
        assert "请致电" in str(rows)


def test_raw_rows_have_the_columns_of_their_publisher(seen: Seen) -> None:
    rows = [record.data for record in seen.metadata["raw/web"]["preview"].records]
    assert [(row["file"], row["row"]) for row in rows] == [("a.jsonl", number) for number in range(5)]
    assert all(0 < len(row["text"]) <= PREVIEW_CHARACTERS + 1 for row in rows)


def test_shards_show_what_their_ids_say(seen: Seen) -> None:
    shown = seen.metadata["shards/general"]["preview"].records
    documents = current(Lake(seen.settings.lake), "corpus", "documents")
    texts = scan_parts(kept_parts(documents), schema=Purpose.DOCUMENTS.schema).collect()["text"]
    for record in shown:
        beginning = record.data["text"].removesuffix("…")
        assert len(beginning) > 60 and texts.str.starts_with(beginning).any(), record
        assert record.data["source"] == "web" and record.data["tokens"] > 60


def test_the_tokenizer_shows_how_it_cuts(seen: Seen) -> None:
    rows = {record.data["language"]: record.data for record in seen.metadata["tokenizer"]["preview"].records}
    for language, sentence in SENTENCES.items():
        pieces = rows[language]["cut"].split(" | ")
        counted = [re.fullmatch(r"(.*) \((\d+) tokens\)", piece) for piece in pieces]
        assert "".join(m[1] if m else p for p, m in zip(pieces, counted, strict=True)) == sentence
        assert sum(int(m[2]) if m else 1 for m in counted) == rows[language]["tokens"]


def test_columns_lead_from_the_shards_back_to_the_sources(seen: Seen) -> None:
    def behind(name: str, column: str) -> set[tuple[str, str]]:
        lineage = seen.metadata[name]["dagster/column_lineage"].column_lineage.deps_by_column[column]
        return {(dep.asset_key.to_user_string(), dep.column_name) for dep in lineage}

    assert behind("shards/general", "length") == {("corpus/documents", "text")}
    assert behind("corpus/documents", "text") == {("normalized/web", "text"), ("normalized/guide", "text")}
    for name in ("shards/general", "shards/disease", "corpus/documents"):
        columns = {column.name for column in seen.metadata[name]["dagster/column_schema"].schema.columns}
        lineage = seen.metadata[name]["dagster/column_lineage"].column_lineage.deps_by_column
        assert set(lineage) == columns
        for deps in lineage.values():
            for dep in deps:
                schema = seen.metadata[dep.asset_key.to_user_string()]["dagster/column_schema"].schema
                assert dep.column_name in {column.name for column in schema.columns}


@pytest.mark.parametrize(("name", "pictures"), PICTURES.items(), ids=PICTURES)
def test_there_is_a_picture_where_people_look(seen: Seen, name: str, pictures: set[str]) -> None:
    shown = seen.metadata[name]
    assert pictures <= set(shown)
    for picture in pictures:
        found = re.fullmatch(r"!\[[^]]+]\(data:image/png;base64,([^)]+)\)", shown[picture].md_str)
        assert found, picture
        png = base64.b64decode(found[1])
        assert len(png) <= MOST_PICTURE_BYTES, f"{picture}: {len(png):,} bytes"
        with Image.open(io.BytesIO(png)) as image:
            assert min(image.size) > 150 and len(image.convert("RGB").getcolors(1 << 24) or []) > 8


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
def refreshed(seen: Seen) -> Refreshed:
    """The same home with new records of one source, annealed again from the first run's stable checkpoint."""
    settings, lake = seen.settings, Lake(seen.settings.lake)
    first = finished_stages(configured_plan(settings), lake)
    before = content(lake.runs("small"))
    assert settings.hub is not None
    write_records(settings.hub / "nobody/guide/b.jsonl", range(2000, 2040))
    refresh = {f"raw__{source}": {"config": {"refresh": True}} for source in ("web", "guide")}
    again = settings.model_copy(update={"start_from": "small"})
    run = materialise(again, run_config={"ops": {**SHARE, **refresh}})
    second = finished_stages(configured_plan(again), lake)
    after = content(lake.runs("small"))
    untouched = {name: after.get(name) for name in before} == before
    return Refreshed(settings, again, first, second, run, untouched)


def stage_file(stage: FinishedStage) -> dict[str, Any]:
    facts: dict[str, Any] = orjson.loads((stage.run_folder / "stage.json").read_bytes())
    return facts


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
    text = json.dumps(asdict(traced), default=str)
    assert str(step) in text and folder.name in text


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


def run(seen: Seen, job: str, *assets: str, **chosen: Any) -> dg.ExecuteInProcessResult:
    """Launches a job with its form filled in, as the launchpad does."""
    definition = build_definitions(seen.settings).resolve_job_def(job)
    with open_instance(seen.settings) as instance:
        return definition.execute_in_process(
            instance=instance,
            run_config=chosen,
            raise_on_error=False,
            **({"asset_selection": [dg.AssetKey(name.split("/")) for name in assets]} if assets else {}),
        )


def test_another_budget_is_another_curriculum(seen: Seen) -> None:
    budget = sum(stage.tokens for stage in load_plan(seen.settings.plan).stages) // 2
    done = run(seen, PRETRAIN, "pretrain/fast", token_budget=budget)
    assert done.success
    (event,) = done.asset_materializations_for_node("pretrain__fast")
    assert event.metadata["plan"].value == f"small-{budget}-tokens"
    assert event.metadata["steps"].value == seen.metadata["pretrain/fast"]["steps"].value // 2
    lake = Lake(seen.settings.lake)
    assert lake.runs(f"small-{budget}-tokens").is_dir() and lake.runs("small").is_dir()


def test_verify_finds_a_changed_byte_and_names_the_fix(seen: Seen) -> None:
    done = run(seen, VERIFY)
    checks = {each.check_name: each for each in done.get_asset_check_evaluations()}
    assert done.success and {name: each.passed for name, each in checks.items()} == {
        "data_is_intact": True,
        "checkpoints_are_intact": True,
    }
    assert checks["data_is_intact"].metadata["data sets"].value >= 8
    assert checks["checkpoints_are_intact"].metadata["checkpoints"].value >= 4
    (shard, *_) = sorted(seen.settings.lake.glob("shards/general/*/*/*.bin"))
    # Beside the curriculum that is checked may lie one that starts from it.
    lake = Lake(seen.settings.lake)
    (checkpoint, *_) = damaged_checkpoints(compile_as_pinned(load_plan(seen.settings.plan), lake), lake)
    for path in (shard, checkpoint / "model.safetensors"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    done = run(seen, VERIFY)
    checks = {each.check_name: each for each in done.get_asset_check_evaluations()}
    assert not checks["data_is_intact"].passed and not checks["checkpoints_are_intact"].passed
    assert "shards/general" in str(checks["data_is_intact"].description)
    assert "force" in str(checks["data_is_intact"].description)
    assert str(checkpoint) in str(checks["checkpoints_are_intact"].description)
    assert "Delete" in str(checks["checkpoints_are_intact"].description)
