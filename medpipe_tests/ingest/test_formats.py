"""Which format a file is in: suffix, content, and what the catalog says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medpipe.catalog.source import FileFormat
from medpipe.ingest import formats
from medpipe.ingest.formats import detect_format
from medpipe.ingest.readers import IngestError
from medpipe_tests.ingest.reading import read, write

PRETTY = json.dumps({"title": "甲", "text": ["乙"]}, ensure_ascii=False, indent=2)
RECORDS = {"17": {"q": "头痛"}, "18": {"q": "发热"}}
KEYED = [{"q": "头痛", "key": "17"}, {"q": "发热", "key": "18"}]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.json", '{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("a.json", '\n{"a": 1},\n{"a": 2},\n', [{"a": 1}, {"a": 2}]),
        ("a.json", '{"a": 1}\n', [{"a": 1}]),
        ("a.json", '  \n[{"a": 1},\n{"a": 2}]', [{"a": 1}, {"a": 2}]),
        ("a.jsonl", '[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ("a.jsonl", '["x"]\n["y"]\n', [["x"], ["y"]]),
        ("a.jsonl", '["x"]\n', [["x"]]),
        ("a.json", '["x"]\n', ["x"]),
        ("a.json", "", []),
        ("wiki_00", '{"a": 1}\n', [{"a": 1}]),
        ("part-0", '[{"a": 1}]\n', [{"a": 1}]),
        ("README", "one\ntwo\n", ["one", "two"]),
        ("a.TXT", '\n{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("a.txt", '{"a": 1},\n{"a": 2},\n', [{"a": 1}, {"a": 2}]),
        ("a.txt", "{见下}\n正文\n", ["{见下}", "正文"]),
        ("a.txt", "[1] x\n", ["[1] x"]),
        ("a.csv", "q,a\n1,2\n", [{"q": "1", "a": "2"}]),
        ("a.TSV", "q\ta\n1\t2\n", [{"q": "1", "a": "2"}]),
        ("a.json", json.dumps(RECORDS), KEYED),
        ("a.json", json.dumps(RECORDS, indent=1), KEYED),
        ("a.json", '{\n"17": {"q": "头痛"},\n"18": {"q": "发热"}\n}', KEYED),
        ("a", json.dumps(RECORDS, indent=1), KEYED),
        ("a.jsonl", '{"m": {"q": 1}}', [{"m": {"q": 1}}]),
        ("a.json", PRETTY, [{"title": "甲", "text": ["乙"]}]),
        ("a.json", f"{PRETTY}\n{PRETTY}\n", [{"title": "甲", "text": ["乙"]}] * 2),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_records_by_content(tmp_path: Path, name: str, data: str, expected: list[Any], encoding: str) -> None:
    assert read(write(tmp_path, name, data, encoding)) == (expected, [])


def test_a_broken_first_line_does_not_hide_the_lines(tmp_path: Path) -> None:
    for first in ('{"a": ', '{"a": "x', '{"a": 1}}', "{'a': 1}"):
        values, broken = read(write(tmp_path, "a.json", first + '\n{"a": 2}\n{"a": 3}\n'))
        assert values == [{"a": 2}, {"a": 3}]
        assert [row.row for row in broken] == [0]


@pytest.mark.parametrize(
    ("name", "first", "line"),
    [
        ("a.txt", '{"a": ', '{"a": 2}'),
        ("a.txt", "junk", '{"a": 2},'),
        ("part-0", "junk", '{"a": 2}'),
        ("a.jsonl", '["x", ', '["y"]'),
        ("a.json", '["x"}', '["y"]'),
    ],
)
@pytest.mark.parametrize("count", [2, 30])
def test_one_broken_line_does_not_decide(
    tmp_path: Path, name: str, first: str, line: str, count: int
) -> None:
    values, broken = read(write(tmp_path, name, "\n\n".join([first] + [line] * count)))
    assert values == [json.loads(line.strip(","))] * count
    assert [(row.row, row.reason) for row in broken] == [(0, "broken_json")]


def test_arrays_with_a_break_in_their_first_line_stay_arrays(tmp_path: Path) -> None:
    for data in ('[\n["a"]\n["b"]\n["c"]\n]', '[["x" 1],\n["a"],\n["b"],\n["c"]]'):
        assert detect_format(write(tmp_path, "a.json", data)).format is FileFormat.JSON_ARRAY


def test_text_with_a_few_objects_in_it_is_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", 'one\n{"a": 1}\ntwo\n')
    assert read(path) == (["one", '{"a": 1}', "two"], [])


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.json", '{"1": {"a": "' + "x" * 50 + '"}, "2": {"a": 1}', FileFormat.JSON_OBJECT),
        ("a.json", '{\n"1": {"a": "' + "x" * 500 + '"}}', FileFormat.JSON_OBJECT),
        ("a.json", '{\n"data": [\n{"a": 1},\n{"a": 2},\n' + "{},\n" * 100, FileFormat.JSON_OBJECT),
        ("a.json", '{"text": "' + "x" * 500, FileFormat.JSONL),
        ("a.txt", '{"text": "' + "x" * 500, FileFormat.JSONL),
        ("a.txt", "{" + "x" * 500, FileFormat.TEXT_LINES),
    ],
)
def test_large_files_are_judged_by_their_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: str, expected: FileFormat
) -> None:
    monkeypatch.setattr(formats, "_PROBE_BYTES", 100)
    assert detect_format(write(tmp_path, name, data)).format is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"PAR1....", FileFormat.PARQUET),
        (b"ARROW1..", FileFormat.ARROW),
        (b"\xff\xff\xff\xff....", FileFormat.ARROW),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..", FileFormat.EXCEL),
        (b'<?xml version="1.0"?><article/>', FileFormat.XML),
        (b"<!DOCTYPE article PUBLIC>", FileFormat.XML),
        ("头痛".encode(), FileFormat.TEXT_LINES),
    ],
)
def test_no_suffix(tmp_path: Path, data: bytes, expected: FileFormat) -> None:
    assert detect_format(write(tmp_path, "data", data)).format is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.parquet", FileFormat.PARQUET),
        ("a.arrow", FileFormat.ARROW),
        ("a.xls", FileFormat.EXCEL),
        ("a.XLSX", FileFormat.EXCEL),
        ("a.nxml", FileFormat.XML),
        ("a.xml", FileFormat.XML),
    ],
)
def test_suffix(tmp_path: Path, name: str, expected: FileFormat) -> None:
    assert detect_format(write(tmp_path, name, b"anything")).format is expected


def test_what_the_catalog_says_decides(tmp_path: Path) -> None:
    tabs, commas = write(tmp_path, "a.txt", "内科\t头痛\n"), write(tmp_path, "b.txt", "内科,头痛\n")
    assert read(tabs, columns=("department", "question"))[0] == [{"department": "内科", "question": "头痛"}]
    assert read(commas, columns=("department", "question"))[0] == [{"department": "内科", "question": "头痛"}]
    assert read(tabs, record_start="内") == (["内科\t头痛"], [])
    one_line = write(tmp_path, "a.json", '{"questions": [{"body": "x"}], "version": 1}')
    assert read(one_line)[0] == [{"questions": [{"body": "x"}], "version": 1}]
    assert read(one_line, records="questions")[0] == [{"body": "x"}]


def test_an_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"a\.tar is an archive that is not opened; unpack it yourself"):
        read(write(tmp_path, "a.tar", "x"))


def test_an_unknown_suffix_is_named(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"a\.pdf: no format .*'\.pdf'.*set 'format'"):
        read(write(tmp_path, "a.pdf", "%PDF"))
