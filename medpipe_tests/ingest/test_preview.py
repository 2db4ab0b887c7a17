"""The first published rows of a source, as its raw asset shows them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl

from medpipe.catalog.source import Source
from medpipe.ingest.preview import COLUMNS, first_rows
from medpipe.ingest.snapshot import fetch
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import withdraw
from medpipe_tests.ingest.sources import make_settings, make_source


def rows_of(folder: Path, source: Source, *, most: int = 5) -> list[dict[str, Any]]:
    lake = Lake(folder / "lake")
    raw = fetch(source, lake=lake, settings=make_settings(folder)).dataset
    return first_rows(source, raw, lake=lake, most=most)


def test_rows_of_each_entry_with_the_columns_of_all(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.jsonl").write_text('{"q": "热", "a": ["休息", 1]}\nbroken\n{"q": "咳", "a": null}\n')
    (files / "b.csv").write_text("q,note\n痛,无\n泻,有\n")
    with gzip.open(files / "c.jsonl.gz", "wt") as packed:
        packed.write('{"q": "packed"}\n')
    source = make_source("a.jsonl", "b.csv", "c.jsonl.gz", folder=str(files))
    assert rows_of(tmp_path, source, most=6) == [
        {"file": "a.jsonl", "row": 0, "q": "热", "a": '["休息",1]', "note": None},
        {"file": "b.csv", "row": 0, "q": "痛", "a": None, "note": "无"},
        {"file": "b.csv", "row": 1, "q": "泻", "a": None, "note": "有"},
    ]
    assert len(rows_of(tmp_path, source, most=2)) == 2


def test_a_wide_row_says_how_many_columns_are_not_shown_and_a_text_is_a_record(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.jsonl").write_text(json.dumps({f"c{n}": n for n in range(COLUMNS + 3)}) + "\n")
    (files / "b.txt").write_text("患者体温正常。\n")
    first, second = rows_of(tmp_path, make_source("a.jsonl", "b.txt", folder=str(files)))
    assert first["more columns"] == 3 and f"c{COLUMNS - 1}" in first and f"c{COLUMNS}" not in first
    assert second["record"] == "患者体温正常。" and second["file"] == "b.txt"


def test_nothing_is_shown_where_a_row_may_be_withdrawn_or_cannot_be_read(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.jsonl").write_text('{"text": "甲"}\n')
    source = make_source("a.jsonl", folder=str(files))
    assert len(rows_of(tmp_path, source)) == 1
    unreadable = make_source({"path": "a.jsonl", "format": "parquet"}, folder=str(files))
    assert rows_of(tmp_path, unreadable) == []
    gone = pl.DataFrame({"id": ["1" * 32], "content_key": ["2" * 32], "source": [source.id]})
    withdraw(Lake(tmp_path / "lake"), gone)
    assert rows_of(tmp_path, source) == []
