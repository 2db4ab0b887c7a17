"""Multi-field records read from lines without parsing them: the same records as from parsed ones."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.layouts import FieldsLayout
from medpipe.ingest.json_lines import LineBatch, LineShape
from medpipe.ingest.lines import Line
from medpipe.normalize.layouts.fields import read_field_lines
from medpipe.normalize.records import Normalized, Origin, normalize_batch
from medpipe.records.kinds import Language
from medpipe_tests.normalize.sources import make_source
from medpipe_tests.shared_data import shared_data

SOURCE = make_source("a.jsonl", layout={"layout": "fields", "expand": ["info"]})
ORIGIN = Origin(source=SOURCE, revision="r", path="a.jsonl", file=SOURCE.files[0])


def lines_of(*records: bytes, shape: LineShape | None = None) -> LineBatch:
    return LineBatch(7, [Line(0, record) for record in records], "utf-8", shape or LineShape())


def assert_same(lines: LineBatch, origin: Origin = ORIGIN) -> Normalized:
    unparsed, parsed = normalize_batch(lines, origin), normalize_batch(lines.parsed(), origin)
    assert unparsed.records.equals(parsed.records)
    assert unparsed.rejected.equals(parsed.rejected)
    return unparsed


def is_taken(*records: Any, expand: tuple[str, ...] = ()) -> bool:
    lines = lines_of(*map(orjson.dumps, records))
    return read_field_lines(lines, FieldsLayout(expand=expand), Language.ZH) is not None


def test_strings_and_lists_of_strings_are_taken_without_parsing() -> None:
    assert is_taken({"name": "甲病", "symptom": ["发热", "咳嗽"], "_id": {"$oid": "1"}}, {"name": None})
    assert is_taken({"info": {"name": "甲病"}, "cause": "着凉"}, {"info": None}, expand=("info",))
    assert is_taken({"name": "甲病", "symptom_detail": ["早期", "低热"], "age": 1.5})


def test_what_a_table_cannot_tell_is_parsed() -> None:
    assert not is_taken({"name": "甲病", "cured_prob": 0.5})
    assert not is_taken({"name": "甲病", "check": {"CT": "5天"}})
    assert not is_taken({"symptom": ["发热"], "symptoms": ["咳嗽"]})
    assert not is_taken({"name": "甲病"}, {"name": ["乙病"]})


def test_two_spellings_in_different_records_are_one_field() -> None:
    records = [{"name": "甲病", "symptom": ["发热", "咳嗽"]}, {"name": "乙病", "symptoms": "头痛"}]
    assert is_taken(*records)
    found = assert_same(lines_of(*map(orjson.dumps, records)))
    assert found.records["text"].to_list() == ["名称：甲病。症状：发热,咳嗽", "名称：乙病。症状：头痛"]


def test_rejected_rows_say_why_and_keep_what_was_published() -> None:
    lines = lines_of(b'{"name": "", "cause": []}', b'{"x": "y"}', b"{}", b'{"name": "\xe7\x94\xb2"}')
    rejected = assert_same(lines).rejected
    assert rejected["reason"].to_list() == ["empty_text", "no_known_field", "no_known_field"]
    assert rejected["row"].to_list() == [7, 8, 9]
    assert json.loads(rejected["raw"][0]) == {"name": "", "cause": []}


def test_a_value_that_is_not_utf8_costs_its_row_though_nobody_asks_for_its_field() -> None:
    lines = lines_of(b'{"name": "a", "x": "\xff"}', b'{"name": "b", "x": "y"}')
    found = assert_same(lines)
    assert found.records["row"].to_list() == [8]
    assert found.rejected["reason"].to_list() == ["encoding"]


_TEXTS = st.sampled_from(
    ["甲", " 乙。", "", "None", "['a', 'b']", "[1]", "{", "2024-01-01", "x\u3000\ty", "<b>5</b>mg", "\ufeff"]
)
_LEAVES = (
    _TEXTS | st.none() | st.integers(-5, 5) | st.booleans() | st.sampled_from([0.5, 2.0, float("nan"), 2**70])
)
_MANY = st.lists(_TEXTS | st.none(), max_size=3)
_NAMES = st.sampled_from(
    ["name", "symptom", "symptoms", "cause", "symptom_detail", "cured_prob", "check", "x"]
)
_PLAIN = st.dictionaries(_NAMES, _TEXTS | _MANY, max_size=4)
_ODD = st.dictionaries(_NAMES, _LEAVES | _MANY | _PLAIN, max_size=4)


def _record(plain: dict[str, Any], inner: Any) -> dict[str, Any]:
    return plain if inner is None else plain | {"info": inner}


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.builds(_record, _PLAIN | _ODD, st.none() | _PLAIN | _TEXTS), min_size=1, max_size=4),
        max_size=4,
    )
)
def test_records_are_the_same_whether_parsed_or_not(batches: list[list[dict[str, Any]]]) -> None:
    shape = LineShape()
    for records in batches:
        assert_same(lines_of(*(json.dumps(record).encode() for record in records), shape=shape))


@pytest.mark.parametrize(
    "file", ["nlp-guild_medical-data/medical.json", "nlp-guild_medical-data/heart_lines_dup.json"]
)
def test_real_records_are_the_same_whether_parsed_or_not(file: str) -> None:
    lines = [line for line in shared_data(file).read_bytes().split(b"\n") if line.strip()]
    for first in range(0, len(lines), 64):
        assert_same(lines_of(*lines[first : first + 64]))
