"""JSON objects that hold records, streamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.source import FileFormat
from medpipe.ingest import text_window
from medpipe.ingest.json_object import keyed
from medpipe.ingest.readers import IngestError
from medpipe_tests.ingest.reading import read, reasons, write

OBJECT = FileFormat.JSON_OBJECT
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a痛"\\{]'), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def test_members_of_any_kind(tmp_path: Path) -> None:
    data = {"17": {"q": "咳嗽"}, "18": {"q": 1, "key": "own"}, "a": [1], "b": "yes", "c": None}
    expected = [
        {"q": "咳嗽", "key": "17"},
        {"q": 1, "key": "own"},
        {"key": "a", "value": [1]},
        {"key": "b", "value": "yes"},
        {"key": "c", "value": None},
    ]
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        for indent in (None, 2):
            text = json.dumps(data, ensure_ascii=False, indent=indent)
            assert read(write(tmp_path, "a.json", text, encoding), OBJECT) == (expected, [])


def test_a_member_that_occurs_twice_is_two_records(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '{"a": {"x": 1}, "a": {"x": 2},}')
    assert read(path, OBJECT) == ([{"x": 1, "key": "a"}, {"x": 2, "key": "a"}], [])


@pytest.mark.parametrize("data", ["", " \n", "{}", " { } \n", "\ufeff{}"])
def test_nothing_in_it(tmp_path: Path, data: str) -> None:
    assert read(write(tmp_path, "a.json", data), OBJECT) == ([], [])


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ("data.items", [{"a": 1}, "x"]),
        ("data.by.id", [{"a": 2, "key": "7"}]),
        ("data.by", [{"7": {"a": 2}, "key": "id"}]),
        ("dotted.name", [3]),
        ("data.none", []),
        (".", [None]),
    ],
)
def test_records_further_inside(tmp_path: Path, records: str, expected: list[Any]) -> None:
    data = {
        "version": '1]}"',
        "skipped": [{"items": [0]}, ["]", "\\"], {"data": {}}],
        "data": {"more": {"x": "}"}, "items": [{"a": 1}, "x"], "by": {"id": {"7": {"a": 2}}}, "none": []},
        "dotted.name": [3],
        "end": 1,
    }
    expected = [data] if records == "." else expected
    for indent in (None, 1):
        path = write(tmp_path, "a.json", json.dumps(data, indent=indent))
        assert read(path, OBJECT, records=records) == (expected, [])


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ("answers", r"a\.json has no member 'answers'; correct 'records: answers'.*There is: version, data"),
        ("data.b", r"a\.json has no member 'b'.*There is: a"),
        ("version", r"a\.json: 'version' is neither a list nor an object"),
        ("version.x", r"a\.json: what should hold 'x' is no object"),
    ],
)
def test_a_wrong_place_is_named(tmp_path: Path, records: str, complaint: str) -> None:
    path = write(tmp_path, "a.json", '{"version": 1, "data": {"a": []}}')
    with pytest.raises(IngestError, match=complaint):
        read(path, OBJECT, records=records)


def test_another_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        IngestError, match=r"a\.json is declared a JSON object but starts with '\['.*json_array"
    ):
        read(write(tmp_path, "a.json", "[1]"), OBJECT)


@pytest.mark.parametrize(
    ("data", "kept", "complaint"),
    [
        ('{"a": {}, "b": {', 1, "after 1 elements"),
        ('{"a": {}, "b": "cut he', 1, "after 1 elements"),
        ('{"a": {}, "b', 1, "after 1 elements"),
        ('{"a": {}, "b"', 1, "expected ':'"),
        ('{"a": {},', 1, "the file ends inside the object"),
        ('{"a": {}', 1, "the file ends inside the object"),
        ('{"a": {}}\n{"b": {}}', 1, "there is more after the end of the object"),
    ],
)
def test_a_break_keeps_what_stands_before_it(tmp_path: Path, data: str, kept: int, complaint: str) -> None:
    values, broken = read(write(tmp_path, "a.json", data), OBJECT)
    assert len(values) == kept
    assert reasons(broken) == [(kept, "truncated_object")]
    assert complaint in broken[0].detail


@pytest.mark.parametrize(
    ("data", "kept", "lost"),
    [
        ('{"a": {} "b": {}}', "ab", []),
        ('{"a": {}, b: {}, "c": {}}', "ac", [(1, "expected a member's name in double quotes", "b: {},")]),
        ('{"a": {}, 1: {}}', "a", [(1, "expected a member's name in double quotes", "1: {}")]),
        ('{"a": {"x": [1, "}" 2]}, "c": {}}', "c", [(0, "Expecting ',' delimiter", '{"x": [1, "}" 2]},')]),
        ('{"a": {"x": "y}, "c": {}}', "c", [(0, "Expecting ',' delimiter", '{"x": "y},')]),
    ],
)
def test_a_broken_member_costs_itself(
    tmp_path: Path, data: str, kept: str, lost: list[tuple[int, str, str]]
) -> None:
    values, broken = read(write(tmp_path, "a.json", data), OBJECT)
    assert "".join(value["key"] for value in values) == kept
    assert [(row.row, row.detail.split(", after")[0], row.raw) for row in broken] == lost
    assert {row.reason for row in broken} <= {"broken_json"}


@pytest.mark.parametrize(
    ("data", "expected", "lost"),
    [
        ('{\n"a": 1\n}\n{\n"a": x\n}\n{\n"a": 3\n}', [1, 3], 1),
        ('{"a": 1}\n}\n{"a": 3}', [1, 3], 1),
        ('{"a": 1} abc {"a": 3}', [1, 3], 1),
        ('{"a": 1}, {"a": ]}, {"a": 3}', [1, 3], 1),
    ],
)
def test_a_broken_object_among_others_costs_itself(
    tmp_path: Path, data: str, expected: list[int], lost: int
) -> None:
    values, broken = read(write(tmp_path, "a.json", data), OBJECT, records=".")
    assert [value["a"] for value in values] == expected
    assert [row.reason for row in broken] == ["broken_json"] * lost


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ('{"data": [1, 2', [(2, "truncated_array")]),
        ('{"other": [1, {"x": 2', [(0, "truncated_object")]),
        ('{"other": 1', [(0, "truncated_object")]),
        ('{"other"', [(0, "truncated_object")]),
        ('{"data": [1, 2], "more": [', []),
    ],
)
def test_a_break_around_the_records(tmp_path: Path, data: str, rows: list[tuple[int, str]]) -> None:
    values, broken = read(write(tmp_path, "a.json", data), OBJECT, records="data")
    assert reasons(broken) == rows
    assert values == [1, 2][: len(values)]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_an_illegal_byte_costs_one_member(tmp_path: Path, encoding: str) -> None:
    good = '{"q": "头痛发热咳嗽"}'.encode(encoding)
    data = b'{"\xff": {}, "a": ' + good + b', "b": {"q": "\xff"}, "c": ' + good + b"}"
    values, broken = read(write(tmp_path, "a.json", data), OBJECT)
    assert [value["key"] for value in values] == ["a", "c"]
    assert reasons(broken) == [(0, "encoding"), (2, "encoding")]
    assert "offset 2 is illegal" in broken[0].detail
    assert f"offset {data.rindex(0xFF)} is illegal" in broken[1].detail


def test_illegal_bytes_in_what_is_skipped_cost_nothing(tmp_path: Path) -> None:
    data = '{"skipped": ["头痛发热咳嗽\u00ff", {"x": "y"}], "data": ["痛"]}'.encode().replace(
        b"\xc3\xbf", b"\xff"
    )
    assert read(write(tmp_path, "a.json", data), OBJECT, records="data") == (["痛"], [])


def test_lone_surrogates_and_constants(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", r'{"a\ud800": {"x": "\udc00", "y": NaN}}')
    assert read(path, OBJECT) == ([{"x": "\ufffd", "y": None, "key": "a\ufffd"}], [])


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.tuples(NAMES, VALUES), max_size=8),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1, 30]),
    chunk=st.integers(1, 9),
    inside=st.booleans(),
)
def test_any_object_cut_anywhere_reads_as_json_does(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, Any]], ascii_only: bool,
    indent: int | None, chunk: int, inside: bool,
) -> None:  # fmt: skip
    content = dict(members)
    data = {"before": list(content.values()), "here": content} if inside else content
    text = json.dumps(data, ensure_ascii=ascii_only, indent=indent)
    path = write(tmp_path_factory.mktemp("object"), "a.json", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_window, "CHUNK_BYTES", chunk)
        found = read(path, OBJECT, records="here" if inside else None)
        before = read(path, OBJECT, records="before")[0] if inside else None
    assert found == ([keyed(name, value) for name, value in json.loads(json.dumps(content)).items()], [])
    assert before is None or before == list(content.values())
