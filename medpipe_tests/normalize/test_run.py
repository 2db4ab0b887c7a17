from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medpipe.ingest.readers import RowBatch, read_batches
from medpipe.lake.dataset import find_current
from medpipe.lake.layout import Lake
from medpipe.normalize import parts, run
from medpipe.normalize.errors import NormalizeError
from medpipe.normalize.files import opened_files
from medpipe.normalize.run import normalize_source
from medpipe.records.keys import record_ids
from medpipe.records.kinds import Kind
from medpipe_tests.normalize.sources import check_funnel, make_raw, make_source, records_of, rejected_of

FIELDS = {"layout": "fields"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    (folder / "more").mkdir(parents=True)
    rows = [{"name": f"第{i}种病", "symptom": ["咳嗽", f"发热{i}℃"], "desc": "描述。" * i} for i in range(5)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "medical.json").write_text(
        "\n".join([*lines[:3], '{"name": "断', "", '"甲病"', *lines[3:]]) + "\n"
    )
    (folder / "more" / "a.jsonl").write_text(json.dumps({"sympton": "头痛", "prvent": "休息"}) + "\n")
    return folder


def test_rows_become_records_or_rejections(raw: Path, lake: Lake) -> None:
    source = make_source(
        "medical.json",
        {"path": "more/*", "domain": "general", "split": "test", "language": "en"},
        layout=FIELDS,
    )
    built = normalize_source(source, make_raw(raw), lake=lake)
    facts = check_funnel(built.dataset)
    assert not built.reused
    assert facts["kind"] == "document"
    assert {key: facts[key] for key in ("published", "kept", "rejected", "records")} == {
        "published": 8,
        "kept": 6,
        "rejected": 2,
        "records": 6,
    }
    assert facts["by_file"]["medical.json"] == {"published": 7, "kept": 5, "rejected": 2, "records": 5}
    assert facts["patterns_without_files"] == []

    records = records_of(built.dataset)
    assert records["path"].to_list() == ["medical.json"] * 5 + ["more/a.jsonl"]
    assert records["row"].to_list() == [0, 1, 2, 5, 6, 0]
    assert records["source"].unique().to_list() == ["a_source"]
    assert records["revision"].unique().to_list() == ["rev1"]
    assert records["domain"].to_list() == ["disease"] * 5 + ["general"]
    assert records["split"].to_list() == ["train"] * 5 + ["test"]
    assert records["tier"].unique().to_list() == ["raw"]
    assert records["text"].to_list()[1] == "名称：第1种病。描述：描述。症状：咳嗽,发热1℃"
    assert records["text"].to_list()[5] == "Prevention: 休息. Symptoms: 头痛"
    assert records["id"].to_list() == record_ids(records, kind=Kind.DOCUMENT, content=["text"]).to_list()

    rejected = rejected_of(built.dataset)
    assert rejected["row"].to_list() == [3, 4]
    assert rejected["reason"].to_list() == ["broken_json", "no_known_field"]
    assert rejected["raw"].to_list() == ['{"name": "断', "甲病"]
    assert built.dataset.manifest.recipe.inputs == {"raw": "rev1"}
    assert find_current(lake, "normalized", "a_source") == built.dataset


def test_a_file_of_two_patterns_is_read_once_by_the_first(raw: Path, lake: Lake) -> None:
    source = make_source(
        {"path": "more/a.jsonl", "domain": "general"},
        {"path": "**/*.json*", "domain": "disease"},
        layout=FIELDS,
    )
    records = records_of(normalize_source(source, make_raw(raw), lake=lake).dataset)
    assert dict(records.select("path", "domain").unique().rows()) == {
        "more/a.jsonl": "general",
        "medical.json": "disease",
    }


def test_the_same_recipe_is_reused_and_a_changed_one_is_not(raw: Path, lake: Lake) -> None:
    source = make_source("medical.json", layout=FIELDS)
    first = normalize_source(source, make_raw(raw), lake=lake)
    again = normalize_source(source, make_raw(raw), lake=lake)
    assert again.reused
    assert again.dataset.digest == first.dataset.digest
    renamed = source.model_copy(update={"title": "Another title"})
    assert normalize_source(renamed, make_raw(raw), lake=lake).reused
    forced = normalize_source(source, make_raw(raw), lake=lake, force=True)
    assert not forced.reused
    assert forced.dataset.digest == first.dataset.digest
    assert not normalize_source(source, make_raw(raw, "rev2"), lake=lake).reused
    fewer = make_source("medical.json", layout=FIELDS | {"fields": ["name"]})
    assert not normalize_source(fewer, make_raw(raw), lake=lake).reused


def test_batches_and_threads_do_not_change_the_content(
    raw: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source("**/*.json*", layout=FIELDS)

    def digest_and_text() -> tuple[str, list[Any]]:
        dataset = normalize_source(source, make_raw(raw), lake=lake, force=True).dataset
        check_funnel(dataset)
        return dataset.digest, records_of(dataset).rows()

    whole = digest_and_text()
    monkeypatch.setattr(run, "BATCH_ROWS", 2)
    assert digest_and_text() == whole
    monkeypatch.setattr(run, "WORKERS", 1)
    assert digest_and_text() == whole


def test_only_a_few_batches_are_held_at_a_time(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (raw / "long.jsonl").write_text("".join(f'{{"name": "第{i}种病"}}\n' for i in range(40)))
    read, taken = 0, 0

    def counted(*args: Any, **options: Any) -> Iterator[RowBatch]:
        nonlocal read
        for batch in read_batches(*args, **options):
            read += 1
            yield batch

    monkeypatch.setattr(run, "read_batches", counted)
    monkeypatch.setattr(run, "BATCH_ROWS", 1)
    source = make_source("long.jsonl", layout=FIELDS)
    held = []
    with closing(opened_files(source, make_raw(raw))) as files, ThreadPoolExecutor(run.WORKERS) as pool:
        for path, origin in files:
            for _ in run.normalized_batches(path, origin, pool, None):
                taken += 1
                held.append(read - taken)
    assert (read, taken) == (40, 40)
    assert max(held) <= run.WORKERS


def test_parts_have_a_bounded_number_of_rows(raw: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 2)
    dataset = normalize_source(make_source("medical.json", layout=FIELDS), make_raw(raw), lake=lake).dataset
    check_funnel(dataset)
    rows = {file.path: file.rows for file in dataset.manifest.files}
    assert rows == {
        "part-00000.parquet": 2,
        "part-00001.parquet": 2,
        "part-00002.parquet": 1,
        "rejected/part-00000.parquet": 2,
    }
    assert records_of(dataset)["row"].to_list() == [0, 1, 2, 5, 6]


def test_a_source_of_junk_alone_is_still_a_data_set(tmp_path: Path, lake: Lake) -> None:
    (tmp_path / "junk.jsonl").write_text("{\n7\n")
    dataset = normalize_source(
        make_source("junk.jsonl", layout={"layout": "turns"}), make_raw(tmp_path), lake=lake
    ).dataset
    facts = check_funnel(dataset)
    assert facts["rejected_by_reason"] == {"broken_json": 1, "missing_field": 1}
    assert records_of(dataset).height == 0


def test_no_file_at_all_is_an_error_that_names_the_fix(raw: Path, lake: Lake) -> None:
    with pytest.raises(
        NormalizeError, match=r"a_source: no file of .* matches 'none\.json'.*correct 'files'"
    ):
        normalize_source(make_source("none.json", layout=FIELDS), make_raw(raw), lake=lake)
    facts = normalize_source(
        make_source("none.json", "medical.json", layout=FIELDS), make_raw(raw), lake=lake
    )
    assert facts.dataset.manifest.facts["patterns_without_files"] == ["none.json"]


def test_a_failure_leaves_the_current_data_set(
    raw: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source("medical.json", layout=FIELDS)
    before = normalize_source(source, make_raw(raw), lake=lake).dataset

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "normalize_batch", fail)
    with pytest.raises(OSError, match="no space left while writing"):
        normalize_source(source, make_raw(raw), lake=lake, force=True)
    assert find_current(lake, "normalized", "a_source") == before
    assert [path.name for path in (lake.root / "normalized" / "a_source").iterdir() if path.is_dir()] == [
        before.digest
    ]


def test_progress_names_file_rows_and_speed(raw: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BATCH_ROWS", 2)
    monkeypatch.setattr(run, "PROGRESS_SECONDS", 0.0)
    lines: list[str] = []
    add: Callable[[str], None] = lines.append
    normalize_source(make_source("medical.json", layout=FIELDS), make_raw(raw), lake=lake, progress=add)
    assert lines[0].startswith("a_source: medical.json: 2 rows, ")
    assert lines[-1].startswith("a_source: medical.json: 7 rows, ")
    assert all(line.endswith(" rows/s") for line in lines)


def test_equal_content_has_one_key_in_every_layout(tmp_path: Path, lake: Lake) -> None:
    question, answer = "高血压患者能吃党参吗？", "1.可以口服党参，每次5g。"
    rows = {
        "text": {"text": f"{question}\n{answer}"},
        "question_answer": {"question": question, "answer": answer},
        "turns": {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]},
    }
    keys = []
    for layout, row in rows.items():
        (tmp_path / f"{layout}.jsonl").write_text(json.dumps(row))
        source = make_source(f"{layout}.jsonl", layout={"layout": layout})
        dataset = normalize_source(source, make_raw(tmp_path, layout), lake=lake).dataset
        keys.append(pl.read_parquet(dataset.path / "part-00000.parquet")["content_key"].item())
    assert len(set(keys)) == 1
