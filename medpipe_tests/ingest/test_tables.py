"""CSV and TSV with every quirk that published tables have."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.source import FileFormat
from medpipe.ingest import tables
from medpipe.ingest.columns import cell_value, column_names
from medpipe_tests.ingest.reading import read, reasons, write

CSV, TSV = FileFormat.CSV, FileFormat.TSV


def rows(path: Path, file_format: FileFormat, **options: Any) -> list[list[Any]]:
    """The values of whole tables, without column names."""
    values, broken = read(path, file_format, **options)
    assert broken == []
    return [list(value.values()) for value in values]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_header_and_quoted_cells(tmp_path: Path, encoding: str, line_end: str) -> None:
    lines = [
        "科室,问题,答案", '"内科","咳嗽, 发热","第一行', '第二行 ""加重"""', "", "外科,,  ", ",,",
        '"",x,"y"""',
    ]  # fmt: skip
    path = write(tmp_path, "a.csv", line_end.join(lines), encoding)
    assert read(path) == (
        [
            {"科室": "内科", "问题": "咳嗽, 发热", "答案": '第一行\n第二行 "加重"'},
            {"科室": "外科", "问题": None, "答案": "  "},
            {"科室": None, "问题": None, "答案": None},
            {"科室": None, "问题": "x", "答案": 'y"'},
        ],
        [],
    )


def test_columns_in_place_of_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "内科\t1\t咳嗽\n外科\t0\t腹痛\n")
    assert read(path, columns=("department", "label", "question")) == (
        [
            {"department": "内科", "label": "1", "question": "咳嗽"},
            {"department": "外科", "label": "0", "question": "腹痛"},
        ],
        [],
    )


@pytest.mark.parametrize("data", ["", "\n", "a,b\n", "\ufeffa,b"])
def test_no_rows(tmp_path: Path, data: str) -> None:
    assert read(write(tmp_path, "a.csv", data)) == ([], [])


def test_ragged_rows_cost_themselves(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'a,b\n1,2\n3\n4,5,6\n7,8,,\n"x,y"\n9,10\n')
    values, broken = read(path)
    assert [list(value.values()) for value in values] == [["1", "2"], ["7", "8"], ["9", "10"]]
    assert reasons(broken) == [(row, "broken_table_row") for row in (1, 2, 4)]
    assert [row.detail for row in broken][:2] == [
        "1 cells in 2 columns (line at offset 8)",
        "3 cells in 2 columns (line at offset 10)",
    ]
    assert broken[2].raw == '"x,y"'


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_an_illegal_byte_costs_one_row(tmp_path: Path, encoding: str) -> None:
    good = "咳嗽发热,请尽快就医\n".encode(encoding)
    data = b"q,a\n" + good + b'"x\n\xff",y\n' + good + b"\xff,\xff\n" + good
    values, broken = read(write(tmp_path, "a.csv", data))
    assert values == [{"q": "咳嗽发热", "a": "请尽快就医"}] * 3
    assert reasons(broken) == [(1, "encoding"), (3, "encoding")]
    assert f"0xff at offset {4 + len(good) + 3} is illegal in {encoding}" in broken[0].detail


def test_a_quote_that_is_never_closed_costs_one_line(tmp_path: Path) -> None:
    data = 'a,b\n1,2\n3,"4\n5,6\n7,"8, 9"\n' + "10,11\n" * 500
    values, broken = read(write(tmp_path, "a.csv", data))
    assert [list(value.values()) for value in values] == [
        ["1", "2"], ["5", "6"], ["7", "8, 9"], *[["10", "11"]] * 500
    ]  # fmt: skip
    assert reasons(broken) == [(1, "broken_table_row")]
    assert "quotes that do not pair" in broken[0].detail
    assert broken[0].raw == '3,"4'


def test_a_quoted_cell_has_an_end_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROW_CHARACTERS", 50)
    values, broken = read(write(tmp_path, "a.csv", 'a,b\n1,"2\n' + "3,4\n" * 40))
    assert [list(value.values()) for value in values] == [["3", "4"]] * 40
    assert reasons(broken) == [(0, "broken_table_row")]
    assert "not closed within 50 characters" in broken[0].detail


def test_quotes_within_a_line_that_break_the_rule_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'q,a\n"三高"是什么,"血压"高\n5" 长,"x" \n"x"y,z,w\n')
    values, broken = read(path)
    assert [list(value.values()) for value in values] == [['"三高"是什么', '"血压"高'], ['5" 长', '"x" ']]
    assert reasons(broken) == [(2, "broken_table_row")]


def test_tsv_that_was_written_without_quoting(tmp_path: Path) -> None:
    data = 'l\tq\ta\n1\t"三高是什么\tx\n0\t血压"\ty\n1\t"甲"\t"\n0\t"开\t乙\n1\tz\t关"\n'
    assert rows(write(tmp_path, "a.tsv", data), TSV) == [
        ["1", '"三高是什么', "x"], ["0", '血压"', "y"], ["1", '"甲"', '"'], ["0", '"开', "乙"],
        ["1", "z", '关"'],
    ]  # fmt: skip


def test_tsv_that_was_written_with_quoting(tmp_path: Path) -> None:
    data = 'q\ta\n"甲\n乙"\t"一""二"\n"丙\t丁"\t\t\n'
    assert rows(write(tmp_path, "a.tsv", data), TSV) == [["甲\n乙", '一"二'], ["丙\t丁", None]]


def test_lone_carriage_returns_and_nul_stay(tmp_path: Path) -> None:
    data = 'a,b\nx\ry,z\0\n"p\rq","r\0"\n"u"\r,v\n'
    assert rows(write(tmp_path, "a.csv", data), CSV) == [["x\ry", "z\0"], ["p\rq", "r\0"], ['"u"\r', "v"]]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_that_end_with_carriage_returns_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    path = write(tmp_path, "a.csv", mark + 'a,"b"\r1,"x\ry"\r\r3\r5,痛\r')
    offset = path.read_bytes().index(b"\r3\r") + 1
    for size in (3, 1 << 20):
        monkeypatch.setattr(tables, "_CHUNK_BYTES", size)
        values, broken = read(path)
        assert values == [{"a": "1", "b": "x\ny"}, {"a": "5", "b": "痛"}]
        assert [row.detail for row in broken] == [f"1 cells in 2 columns (line at offset {offset})"]
    monkeypatch.setattr(tables, "_CHUNK_BYTES", 3)
    monkeypatch.setattr(tables, "MAX_LINE_BYTES", 10)
    values, broken = read(write(tmp_path, "b.csv", "a,b\r1,2\r" + "x" * 50 + "\r3,4\r"))
    assert [value["a"] for value in values] == ["1", "3"]
    assert reasons(broken) == [(1, "line_too_long")]


def test_a_carriage_return_within_the_only_line_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", '"x\ry",z')
    assert read(path, columns=("p", "q")) == ([{"p": "x\ry", "q": "z"}], [])


def test_a_long_cell(tmp_path: Path) -> None:
    long, lines = "长" * 300_000, "行\n" * 100_000
    path = write(tmp_path, "a.csv", f'a,b\n{long},"{long}"\n"{lines}",x\n')
    assert rows(path, CSV) == [[long, long], [lines, "x"]]


def test_lists_in_cells(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'name,symptoms\n1,"[\'Cough\', ""it\'s""]"\n2,"[\'a\' \'b\']"\n3,[]\n')
    assert rows(path, CSV) == [["1", ["Cough", "it's"]], ["2", "['a' 'b']"], ["3", []]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        (" ", " "),
        ("['a', \"b\", None,]", ["a", "b", None]),
        ('["a", null]', ["a", None]),
        (r"['it\'s', 'x\n', '痛']", ["it's", "x\n", "痛"]),
        ("[ ]", []),
        ("['']", [""]),
        ("[1]", "[1]"),
        ("[0.50, 1.0]", "[0.50, 1.0]"),
        ("['a', 1]", "['a', 1]"),
        ("['a' 'b']", "['a' 'b']"),
        ("[['q', 'a']]", "[['q', 'a']]"),
        ('[["q", "a"]]', '[["q", "a"]]'),
        ("['a'", "['a'"),
        ("[a, b]", "[a, b]"),
        (r"['\N{nothing}']", r"['\N{nothing}']"),
        ("[f'{x}']", "[f'{x}']"),
    ],
)
def test_cell_values(text: str, value: Any) -> None:
    assert cell_value(text) == value


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_every_list_of_strings_that_python_prints_is_one(items: list[str | None]) -> None:
    assert cell_value(repr(items)) == items


def test_column_names() -> None:
    assert column_names(["\ufeffa ", "", "a", "a_2", "a", "　b"]) == [
        "a",
        "column_1",
        "a_2",
        "a_2_2",
        "a_3",
        "b",
    ]


@settings(max_examples=80, deadline=None)
@given(
    table=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(
                st.text(st.sampled_from('ab痛\n", \t|0;'), max_size=6), min_size=width, max_size=width
            ).filter(lambda cells: bool("".join(cells).strip(" \n\t"))),
            min_size=1,
            max_size=8,
        )
    ),
    line_end=st.sampled_from(["\n", "\r\n"]),
    dialect=st.sampled_from([(CSV, ","), (TSV, "\t")]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], line_end: str,
    dialect: tuple[FileFormat, str], quoting: int,
) -> None:  # fmt: skip
    file_format, delimiter = dialect
    if file_format is TSV:
        # Lines within quotes that have all the cells are rows of TSV, whatever was meant.
        table = [[cell.replace("\t", "|") for cell in cells] for cells in table]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(table)
    path = write(tmp_path_factory.mktemp("table"), "a", out.getvalue())
    columns = [f"c{number}" for number in range(len(table[0]))]
    assert rows(path, file_format, columns=columns) == [[cell or None for cell in cells] for cells in table]


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from('a"\n,\r'), max_size=60), st.sampled_from([CSV, TSV]))
def test_nothing_fails_and_no_line_is_lost(
    tmp_path_factory: pytest.TempPathFactory, data: str, file_format: FileFormat
) -> None:
    path = write(
        tmp_path_factory.mktemp("table"), "a", data.replace(",", "," if file_format is CSV else "\t")
    )
    values, broken = read(path, file_format, columns=("x", "y"))
    kept = "".join(cell or "" for value in values for cell in value.values()) + "".join(
        row.raw for row in broken
    )
    assert kept.count("a") == data.count("a")
