"""What people see of each asset once it is made, and of a run that a form changed; on one small home."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from medpipe import asset_metadata
from medpipe.asset_metadata import MOST_PICTURE_BYTES, MOST_PICTURE_WIDTH, PREVIEW_CHARACTERS
from medpipe.automation import PRETRAIN, VERIFY
from medpipe.curate.purposes import Purpose, kept_parts
from medpipe.graph import build_definitions
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.lake.parquet import scan_parts
from medpipe.operate.instance import open_instance
from medpipe.operate.materialise import materialise
from medpipe.pretrain.plan import load_plan
from medpipe.settings import Settings
from medpipe.tokens.preview import SENTENCES
from medpipe_tests.making import article
from medpipe_tests.operate.test_refresh import CATALOG, write_plan, write_records

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
    materialise(settings, run_config={"ops": {"corpus__documents": {"config": {"validation_share": 0.1}}}})
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


def test_a_wide_picture_fits_into_the_dialog_and_keeps_its_rare_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Below what this picture has, so that its colours have to be reduced.
    monkeypatch.setattr(asset_metadata, "MOST_PICTURE_BYTES", 15_000)
    figure = Figure(figsize=(16, 5), layout="constrained")
    axes = figure.subplots()
    change = np.random.default_rng(0).uniform(-9, 60, (4, 9))
    figure.colorbar(axes.imshow(change, cmap="RdBu_r", vmin=-60, vmax=60, aspect="auto"))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    shown = asset_metadata.picture(drawn.getvalue(), caption="a colour bar").md_str
    png = base64.b64decode(shown.rpartition(",")[2].removesuffix(")"))
    assert len(png) <= 15_000
    with Image.open(io.BytesIO(png)) as image:
        assert image.width == MOST_PICTURE_WIDTH
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or []}
    # The lower half of the bar is blue and is nowhere else in the picture.
    assert any(blue > 120 and blue - red > 80 for red, _, blue in colours)


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
    (checkpoint, *_) = sorted(seen.settings.lake.glob("runs/small/*/checkpoints/*/model.safetensors"))
    for path in (shard, checkpoint):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    done = run(seen, VERIFY)
    checks = {each.check_name: each for each in done.get_asset_check_evaluations()}
    assert not checks["data_is_intact"].passed and not checks["checkpoints_are_intact"].passed
    assert "shards/general" in str(checks["data_is_intact"].description)
    assert "force" in str(checks["data_is_intact"].description)
    assert str(checkpoint.parent) in str(checks["checkpoints_are_intact"].description)
    assert "Delete" in str(checks["checkpoints_are_intact"].description)
