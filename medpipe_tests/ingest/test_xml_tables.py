"""Tables of articles as lines: each cell stays below the head of its own column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from medpipe.catalog.layouts import ArticleLayout
from medpipe.ingest.xml_tables import MOST_ROWS, table_lines
from medpipe.ingest.xml_text import line_text
from medpipe.records.kinds import Language
from medpipe_tests.ingest.reading import read, write
from medpipe_tests.normalize import reading


def lines(inside: str) -> list[str]:
    return table_lines(etree.fromstring(f"<table>{inside}</table>"), line_text)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("<tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr>", ["a | b", "1 | 2"]),
        # Whatever the order of publication, the head is first and the foot last.
        (
            "<tfoot><tr><td>sum</td></tr></tfoot><tbody><tr><td>1</td></tr></tbody>"
            "<thead><tr><th>n</th></tr></thead>",
            ["n", "1", "sum"],
        ),
        ("<tr><td>a</td><td/><td>c</td></tr><tr><td/><td/><td/></tr>", ["a |  | c"]),
        ("<tr><td/><td>1</td></tr><tr><td>1</td><td/></tr>", ["| 1", "1 |"]),
        (
            "<tr><td colspan='2'>dose</td><td>n</td></tr><tr><td>1</td><td>2</td><td>3</td></tr>",
            ["dose |  | n", "1 | 2 | 3"],
        ),
        (
            "<tr><td rowspan='2'>A</td><td>1</td></tr><tr><td>2</td></tr><tr><td>B</td><td>3</td></tr>",
            ["A | 1", "| 2", "B | 3"],
        ),
        (
            "<tr><td>x</td><td rowspan='2' colspan='2'>A</td></tr><tr><td>1</td></tr><tr><td>2</td></tr>",
            ["x | A |", "1 |  |", "2"],
        ),
        # A span does not reach beyond its part, and one without an end is cut.
        ("<thead><tr><th rowspan='9'>A</th></tr></thead><tbody><tr><td>1</td></tr></tbody>", ["A", "1"]),
        ("<tr><td colspan='x'>a</td><td rowspan='-3'>b</td><td>c</td></tr>", ["a | b | c"]),
        ("<tr><td>10<sup>9</sup>/L</td><td>P<break/>value</td></tr>", ["10<sup>9</sup>/L | P value"]),
        ("<tr><td>12.5<xref ref-type='table-fn'>1</xref></td></tr>", ["12.5"]),
        ("<tr><td><p>one</p><p>two</p></td></tr>", ["one two"]),
        ("", []),
    ],
)  # fmt: skip
def test_golden(table: str, expected: list[str]) -> None:
    assert lines(table) == expected


def test_tables_are_bounded() -> None:
    assert len(lines("<tr><td>1</td></tr>" * (MOST_ROWS + 5))) == MOST_ROWS
    (wide,) = lines("<tr><td colspan='9999'>a</td><td colspan='9999'>b</td></tr>")
    assert wide.count("|") < 200
    (many,) = lines(f"<tr>{'<td>1</td>' * 300}</tr>")
    assert many.count("1") == 300


@given(st.lists(st.lists(st.sampled_from(["1", "2.5", "", "a"]), min_size=3, max_size=3), max_size=4))
def test_no_cell_is_lost_or_moved(rows: list[list[str]]) -> None:
    table = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    said = [[cell.strip() for cell in f" {line} ".split("|")] for line in lines(table)]
    assert said == [row for row in rows if any(row)]


def test_a_table_in_an_article(tmp_path: Path) -> None:
    data = """<article><body><sec><title>Results</title><p>As shown.</p>
      <table-wrap><label>Table 1</label><caption><p>Doses</p></caption><alternatives><graphic/>
        <table><thead><tr><th>Drug</th><th>Dose</th></tr></thead>
          <tbody><tr><td>A</td><td>≥5&#160;μg</td></tr><tr><td/><td>0.5~1.0×10<sup>9</sup></td></tr></tbody></table>
        <table><tr><td>the same</td></tr></table></alternatives>
      <table-wrap-foot><p>foot</p></table-wrap-foot></table-wrap><p>Behind it.</p></sec></body></article>"""
    (value,), broken = read(write(tmp_path, "a.nxml", data))
    assert broken == []
    frame, _ = reading.read(ArticleLayout(), value, language=Language.EN)
    assert frame["text"].item() == (
        "Results\nAs shown.\nTable 1. Doses\nDrug | Dose\nA | ≥5 μg\n| 0.5~1.0×10⁹\nBehind it."
    )
