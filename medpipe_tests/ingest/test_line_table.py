"""JSON lines as an Arrow table: given only where the table says the same as the lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.ingest.json_lines import LineBatch, LineShape, read_line_batches
from medpipe.ingest.line_table import read_line_table
from medpipe.ingest.lines import Line
from medpipe.ingest.nesting import deepest_nesting


def batch(*lines: bytes, shape: LineShape | None = None) -> LineBatch:
    return LineBatch(0, [Line(0, line) for line in lines], "utf-8", shape or LineShape())


def rows(*lines: bytes) -> list[dict[str, Any]] | None:
    table = read_line_table(batch(*lines))
    return None if table is None else table.to_pylist()


def test_lines_that_are_alike_become_a_table() -> None:
    assert rows(b'{"name": "\xe9\xbc\xbb", "cause": ["a", "b"]}', b'{"name": null}, ') == [
        {"name": "鼻", "cause": ["a", "b"]},
        {"name": None, "cause": None},
    ]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b'{"a": "x"}', b'{"a": 1}'], id="two types under one key"),
        pytest.param([b'{"a": "x"}', b'{"a": ["x"]}'], id="a string and a list"),
        pytest.param([b'{"a": 1, "a": 2}'], id="a key twice"),
        pytest.param([b'{"a": "\xff"}'], id="not UTF-8"),
        pytest.param([b'{"a": "\\ud800"}'], id="half a surrogate pair"),
        pytest.param([b'{"a": "x\x01"}'], id="a control character"),
        pytest.param([b'{"a": NaN}'], id="no JSON number"),
        pytest.param([b'{"a": 1.5}', b'{"a": -Infinity}'], id="no JSON number either"),
        pytest.param([b'{"a": "x"}{"a": "y"}'], id="two objects on a line"),
        pytest.param([b'{"a": "x"}{"a": "y"}', b'{"b": {"c": 1}', b"}"], id="an object over two lines"),
        pytest.param([b'{"a": {"b": 1}}{"a": {"b": 1}}', b'{"a": {"b": 1}', b'{"b": 1}}'], id="or nearly"),
        pytest.param([b"[1]"], id="a list"),
        pytest.param([b'"x"'], id="a string"),
        pytest.param([b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"], id="deep"),
        pytest.param([b'{"a": ' * 200_000 + b"1" + b"}" * 200_000], id="deep objects"),
        pytest.param([b'{"a": "x"'], id="broken"),
    ],
)
def test_lines_whose_table_would_not_be_the_same_give_none(lines: list[bytes]) -> None:
    assert rows(*lines) is None


@given(
    st.lists(
        st.none() | st.lists(st.none() | st.sampled_from(["", "a", "bc"]), max_size=3), min_size=1, max_size=4
    )
)
def test_nulls_in_lists_stay_where_they_are(values: list[Any]) -> None:
    assert rows(*(json.dumps({"a": value}).encode() for value in values)) == [
        {"a": value} for value in values
    ]


def test_types_found_in_one_batch_are_not_forced_on_the_next() -> None:
    shape = LineShape()
    for lines in (
        [b'{"a": "x"}'],
        [b'{"a": 1}'],
        [b'{"a": "2024-01-01"}'],
        [b'{"b": ["x"]}'],
        [b'{"a": "y"}'],
    ):
        table = read_line_table(batch(*lines, shape=shape))
        assert table is not None
        said = [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
        assert said == [json.loads(line) for line in lines] or "2024" in lines[0].decode()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=4), min_size=1, max_size=4))
def test_strings_lists_of_strings_and_integers_are_those_of_the_lines(records: list[dict[str, Any]]) -> None:
    table = read_line_table(batch(*(json.dumps(record).encode() for record in records)))
    if table is None:
        return
    for name, column in zip(table.column_names, table.columns, strict=True):
        if str(column.type) in ("string", "int64", "bool", "list<item: string>"):
            assert column.to_pylist() == [record.get(name) for record in records]


@given(_VALUES)
def test_the_nesting_is_that_of_the_parsed_value(value: Any) -> None:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert deepest_nesting(np.frombuffer(data, np.uint8)) == depth(value)


def test_brackets_in_strings_are_text() -> None:
    assert deepest_nesting(np.frombuffer(rb'{"a": "[[\"[[\\"}', np.uint8)) == 1


def test_blank_lines_are_no_records_and_the_rest_is_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n{"a": 2},\r\n  \n,\n{"a": 3\n{"a": 4}')
    found = read_line_batches(tmp_path / "a.jsonl", encoding="utf-8", max_rows=None, batch_rows=2)
    parsed = [each.parsed() for each in found]
    assert [each.values for each in parsed] == [[{"a": 1}, {"a": 2}], [{"a": 4}]]
    assert [each.rows for each in parsed] == [[0, 1], [3]]
    assert [row.row for row in parsed[1].broken] == [2]
