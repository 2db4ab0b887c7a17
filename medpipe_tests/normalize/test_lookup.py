"""The second table of a file: finding partners, and what it refuses."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.catalog.source import Lookup
from medpipe.normalize import lookup as lookup_module
from medpipe.normalize.errors import NormalizeError
from medpipe.normalize.lookup import LookupTable, field_text, load_lookup


def make_lookup(**fields: Any) -> Lookup:
    return Lookup.model_validate({"path": "questions.csv", "key": "id", "take": ["text"]} | fields)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def test_rows_are_completed_by_key(tmp_path: Path) -> None:
    table_file = write(
        tmp_path / "questions.jsonl",
        {"id": "q2", "text": "发热怎么办？", "day": 3},
        {"id": "q1", "text": "咳嗽怎么办？", "tags": ["呼吸"]},
    )
    table = load_lookup(make_lookup(take=["text", "tags"], prefix="question_"), [table_file])
    assert table.rows == 2
    rows = [{"id": "q1", "text": "多喝水"}, {"id": "q3", "text": "x"}, {"text": "没有编号"}, {"id": "q2"}]
    assert table.complete(rows) == [
        {"id": "q1", "text": "多喝水", "question_text": "咳嗽怎么办？", "question_tags": ["呼吸"]},
        None,
        None,
        {"id": "q2", "question_text": "发热怎么办？", "question_tags": None},
    ]
    assert rows[0] == {"id": "q1", "text": "多喝水"}, "the published row stays as it is"
    assert table.complete([]) == []


def test_of_equal_keys_the_first_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", {"id": 1, "text": "a"}, {"id": 1, "text": "b"})
    second = write(tmp_path / "b.jsonl", {"id": "1", "text": "c"}, {"id": 2, "text": "d"})
    table = load_lookup(make_lookup(), [first, second])
    assert table.complete([{"id": "1"}, {"id": 2}]) == [{"id": "1", "text": "a"}, {"id": 2, "text": "d"}]


def test_tables_in_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("data/questions.csv", "id,text\n7,头痛\n")
        archive.writestr("data/answers.csv", "id,text\n7,休息\n")
    table = load_lookup(make_lookup(path="all.zip", member="data/questions.csv"), [tmp_path / "all.zip"])
    assert table.complete([{"id": 7}]) == [{"id": 7, "text": "头痛"}]


def test_rows_without_a_key_and_broken_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"id": null, "text": "a"}\n{"text": "b"}\n{"id": \n{"id": 1, "text": "c"}\n')
    assert load_lookup(make_lookup(), [path]).rows == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": "number"}, r"no row of the lookup questions\.csv has the field 'number'; it has: id, text"),
        ({"take": ["text", "title"]}, r"has the field 'title'; it has: id, text\. Correct 'lookup'"),
    ],
)
def test_a_field_that_no_row_has(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "questions.jsonl", {"id": 1, "text": "a"})
    with pytest.raises(NormalizeError, match=message):
        load_lookup(make_lookup(**fields), [path])


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NormalizeError, match=r"no file matches 'questions\.csv' of a lookup"):
        load_lookup(make_lookup(), [])


@pytest.mark.parametrize("limit", ["MAX_ROWS", "MAX_BYTES"])
def test_a_table_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    path = write(tmp_path / "questions.jsonl", *({"id": i, "text": "abc"} for i in range(5)))
    monkeypatch.setattr(lookup_module, limit, 4)
    with pytest.raises(NormalizeError, match=r"held in memory and has more than .* 'path' and 'member'"):
        load_lookup(make_lookup(), [path])


def test_a_field_that_the_row_has_itself(tmp_path: Path) -> None:
    table = load_lookup(make_lookup(), [write(tmp_path / "q.jsonl", {"id": 1, "text": "a"})])
    with pytest.raises(NormalizeError, match="takes over 'text', which the row has itself; set 'prefix'"):
        table.complete([{"id": 1, "text": "b"}])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("01", "01"),
        (1, "1"),
        (1.0, "1"),
        (0.5, "0.5"),
        (True, "true"),
        (None, None),
        (10**30, str(10**30)),
        (["a", 1], '["a", 1]'),
    ],
)
def test_fields_as_text(value: Any, text: str | None) -> None:
    assert field_text(value) == text


@given(
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=40),
    st.lists(st.none() | st.text(max_size=4), max_size=40),
)
def test_it_finds_what_a_dictionary_finds(pairs: dict[str, str], asked: list[str | None]) -> None:
    frame = pl.DataFrame(
        [(key, json.dumps([value])) for key, value in pairs.items()],
        schema={"key": pl.String, "taken": pl.String},
        orient="row",
    )
    keys = [*asked, *pairs]
    found = LookupTable(make_lookup(), frame).complete([{"id": key} for key in keys])
    assert [row and row["text"] for row in found] == [
        pairs.get(key) if key is not None else None for key in keys
    ]
