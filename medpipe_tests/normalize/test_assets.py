"""Raw and normalized assets of one source in the graph, as a person materialises them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from medpipe.graph import build_definitions
from medpipe.records.schemas import ExamItem
from medpipe.settings import Settings

ENTRY = """
sources:
  - id: ward_exam
    title: Ward exam
    description: Questions of one ward.
    folder: exam
    files:
      - {path: train.jsonl, domain: textbook}
      - {path: test.jsonl, domain: textbook, split: test}
    kind: exam_item
    layout: {layout: multiple_choice, subject: subject}
    language: zh
    licence: {name: null}
    uses: [evaluation]
"""
QUESTIONS = [
    {"question": "头痛首选哪种药？", "options": {"A": "甲药", "B": "乙药"}, "answer": "B", "subject": "内科"},
    {"question": "哪些是症状？", "options": {"A": "咳嗽", "B": "发热", "C": "桌子"}, "answer": "AB"},
    {"question": "哪个都不是？", "options": {"A": "甲", "B": "乙"}, "answer": "E"},
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "sources"
    (folder / "exam").mkdir(parents=True)
    (folder / "mine.yaml").write_text(ENTRY)
    put(folder / "exam" / "train.jsonl", *QUESTIONS)
    put(folder / "exam" / "test.jsonl", {**QUESTIONS[0], "question": "发热呢？"})
    return Settings(home=tmp_path / "home", sources=folder, hub=None, lake_root=None)


def put(path: Path, *rows: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def materialise(settings: Settings, *keys: str) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        asset_selection=[dg.AssetKey(key.split("/")) for key in keys],
        instance=dg.DagsterInstance.ephemeral(),
        raise_on_error=False,
    )


def metadata_of(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    (event,) = [
        each.materialization
        for each in result.get_asset_materialization_events()
        if each.asset_key.to_user_string() == key
    ]
    return {name: value.value for name, value in event.metadata.items()}


def test_an_exam_from_files_to_items(settings: Settings) -> None:
    result = materialise(settings, "raw/ward_exam", "normalized/ward_exam")
    assert result.success
    metadata = metadata_of(result, "normalized/ward_exam")
    assert (metadata["published rows"], metadata["kept rows"], metadata["rejected rows"]) == (4, 3, 1)
    items = ExamItem.validate(pl.read_parquet(Path(metadata["dagster/uri"]) / "part-00000.parquet"))
    assert items.select("path", "row", "split", "answers", "subject").rows() == [
        ("train.jsonl", 0, "train", ["B"], "内科"),
        ("train.jsonl", 1, "train", ["A", "B"], None),
        ("test.jsonl", 0, "test", ["B"], "内科"),
    ]
    assert items["options"][0].to_list()[1] == {"label": "B", "text": "乙药"}
    rejected = pl.read_parquet(Path(metadata["dagster/uri"]) / "rejected" / "part-00000.parquet")
    assert rejected.select("row", "reason").rows() == [(2, "unknown_answer")]
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert all(each.passed for each in checks.values())
    assert checks["rows_accounted"].description == "4 rows published = 3 kept + 1 rejected"


def test_a_source_of_which_nothing_is_kept_stops_the_graph(settings: Settings, tmp_path: Path) -> None:
    for name in ("train", "test"):
        put(tmp_path / "sources" / "exam" / f"{name}.jsonl", QUESTIONS[2], {"question": "？"})
    result = materialise(settings, "raw/ward_exam", "normalized/ward_exam")
    assert not result.success
    (failed,) = [each for each in result.get_asset_check_evaluations() if not each.passed]
    assert failed.check_name == "rows_accounted"
    assert failed.description.startswith("none of 4 rows is kept (")
    assert "unknown_answer 2" in failed.description and "compare 'layout'" in failed.description
