"""Lines that are Python literals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.catalog.source import FileFormat
from medpipe.ingest import python_literals
from medpipe.ingest.python_literals import BrokenLiteralError, parse_literal
from medpipe_tests.ingest.reading import read, reasons, write

LITERALS = FileFormat.PYTHON_LITERALS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_list_is_its_items(tmp_path: Path, encoding: str) -> None:
    data = (
        "train [{'q': '咳嗽', 'ok': True}, {'q': None}]\r\n\ndev\n('x', 1)\n"
        "test: {'q': \"it's\"}\n[]\n'word'\n"
    )
    expected = [{"q": "咳嗽", "ok": True}, {"q": None}, ["x", 1], {"q": "it's"}, "word"]
    assert read(write(tmp_path, "a.txt", data, encoding), LITERALS) == (expected, [])


def test_a_broken_line_costs_one_row(tmp_path: Path) -> None:
    lines = [
        "{'a': 1}", "{'a': }", "open('/etc/passwd')", "OrderedDict([('a', 1)])", "{'a': b'x'}", "{'a': 1j}",
        "[" * 200_000, "-" * 200_000 + "1", "1+" * 200_000 + "1", "{'a': x}", "None",
    ]  # fmt: skip
    values, broken = read(write(tmp_path, "a.txt", "\n".join(lines)), LITERALS)
    assert values == [{"a": 1}, None]
    assert [row.row for row in broken] == list(range(1, 10))
    assert {row.reason for row in broken} == {"broken_literal"}
    assert "offset 9)" in broken[0].detail
    assert "type bytes has no place" in broken[3].detail
    assert "nested too deeply" in broken[6].detail


def test_an_illegal_byte_and_an_endless_line_cost_one_row_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_literals, "MAX_LITERAL_BYTES", 40)
    data = "['头痛']\n".encode() + b"['\xff']\n" + b"[" + b"1, " * 30 + b"]\n{'a': 1}"
    values, broken = read(write(tmp_path, "a.txt", data), LITERALS)
    assert values == ["头痛", {"a": 1}]
    assert reasons(broken) == [(1, "encoding"), (2, "line_too_long")]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_python_prints_is_read_back(value: Any) -> None:
    assert parse_literal(repr(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1, (2, ))", [1, [2]]),
        ("{2, 1}", [1, 2]),
        ("{1: 'a', None: 'b'}", {"1": "a", "None": "b"}),
        ("[1e999, -1e999]", [None, None]),
        (r"'\ud800x'", "\ufffdx"),
        (r"'\ud83d\ude00'", "\U0001f600"),
    ],
)
def test_values_as_json_has_them(text: str, value: Any) -> None:
    assert parse_literal(text) == value


def test_nothing_is_called() -> None:
    with pytest.raises(BrokenLiteralError, match="no Python literal"):
        parse_literal("__import__('os').getcwd()")
