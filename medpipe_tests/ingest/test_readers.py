"""Readers: every quirk that published files have."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.source import FileFormat
from medpipe.ingest import lines, text, text_window
from medpipe.ingest.readers import IngestError, matching_files, read_rows
from medpipe_tests.ingest.reading import read, reasons, write


class TestJsonLines:
    def test_a_broken_line_costs_one_row(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", '{"a": 1}\n{"a": \n{"a": 3}\n{"a": 4}'))
        assert values == [{"a": 1}, {"a": 3}, {"a": 4}]
        assert reasons(broken) == [(1, "broken_json")]
        assert broken[0].raw == '{"a": '
        assert "offset 9" in broken[0].detail

    def test_blank_lines_are_no_records(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", '\n{"a": 1}\n  \r\n\t\n{"a": 2}\n\n'))
        assert (values, broken) == ([{"a": 1}, {"a": 2}], [])

    def test_byte_order_mark_and_crlf(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.json", b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n'))
        assert (values, broken) == ([{"a": 1}, {"a": 2}], [])

    def test_control_characters_inside_strings_stay(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", b'{"a": "x\ry\x00z\x07"}\n{"a": 2}\n'))
        assert (values, broken) == ([{"a": "x\ry\x00z\x07"}, {"a": 2}], [])

    def test_line_separators_of_unicode_do_not_split(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", '{"a": "x\u2028y\u0085z\x0b"}\n'))
        assert (values, broken) == ([{"a": "x\u2028y\u0085z\x0b"}], [])

    def test_a_line_of_nul_bytes_is_broken(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", b'{"a": 1}\n\x00\x00\x00\n'))
        assert values == [{"a": 1}]
        assert reasons(broken) == [(1, "broken_json")]

    def test_numbers_that_are_none_become_null(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", '{"a": [NaN, Infinity, -Infinity, 1e999, 1.5]}\n'))
        assert (values, broken) == ([{"a": [None, None, None, None, 1.5]}], [])

    def test_lone_surrogates_become_replacement_characters(self, tmp_path: Path) -> None:
        line = r'{"a\udc00": ["x\ud800y", {"b": "\ud83d\ude00"}]}'
        values, broken = read(write(tmp_path, "a.jsonl", line + "\n"))
        assert (values, broken) == ([{"a\ufffd": ["x\ufffdy", {"b": "\U0001f600"}]}], [])
        assert orjson.dumps(values)

    def test_an_illegal_byte_costs_one_row_and_names_its_offset(self, tmp_path: Path) -> None:
        first = '{"a": "头痛发热咳嗽"}\n'.encode()
        values, broken = read(write(tmp_path, "a.jsonl", first + b'{"a": "\xff"}\n' + first))
        assert values == [{"a": "头痛发热咳嗽"}] * 2
        assert reasons(broken) == [(1, "encoding")]
        assert f"0xff at offset {len(first) + 7} is illegal in utf-8" in broken[0].detail

    def test_gb18030(self, tmp_path: Path) -> None:
        # 乗 is 0x81 0x5c, a backslash as second byte; 𠀀 has four bytes.
        rows = [{"a": "乗乗"}, {"a": "痛𠀀"}, {"a": "咳嗽"}]
        data = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("gb18030")
        assert b"\x5c" in data
        assert read(write(tmp_path, "a.jsonl", data)) == (rows, [])

    def test_an_illegal_byte_in_gb18030_costs_one_row(self, tmp_path: Path) -> None:
        good = '{"a": "头痛发热"}\n'.encode("gb18030")
        values, broken = read(write(tmp_path, "a.jsonl", good + b'{"a": "\xff"}\n' + good))
        assert len(values) == 2
        assert reasons(broken) == [(1, "encoding")]
        assert f"offset {len(good) + 7}" in broken[0].detail

    def test_utf16_is_refused_with_the_fix(self, tmp_path: Path) -> None:
        with pytest.raises(IngestError, match=r"UTF-16.*iconv"):
            read(write(tmp_path, "a.jsonl", '{"a": 1}', encoding="utf-16"))

    def test_an_endless_line_is_passed_over(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", b"one\n" + b"x" * 100 + b"\ntwo\n")
        found = list(lines.read_lines(path, max_bytes=10))
        assert [line.too_long for line in found] == [False, True, False]
        assert (found[2].data, found[2].offset) == (b"two", 105)

    def test_deep_nesting_is_broken_and_no_crash(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", "[" * 200_000 + "\n{}\n"), FileFormat.JSONL)
        assert values == [{}]
        assert reasons(broken) == [(0, "broken_json")]
        assert len(broken[0].raw) == 2000

    def test_a_comma_after_the_object_is_left_out(self, tmp_path: Path) -> None:
        data = '{"a": "咳,"}, \r\n{"a": 2},\n{"a": },\n,\n{"a": 3}\n'
        for encoding in ("utf-8", "gb18030"):
            values, broken = read(write(tmp_path, "a.json", data, encoding))
            assert values == [{"a": "咳,"}, {"a": 2}, {"a": 3}]
            assert reasons(broken) == [(2, "broken_json")]

    def test_carriage_returns_within_a_line_do_not_split_it(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.jsonl", b'{"a": "x\r - y"}\n{"a":\r2}\r\n'))
        assert (values, broken) == ([{"a": "x\r - y"}, {"a": 2}], [])

    def test_a_pretty_printed_object_declared_as_lines_is_broken_rows(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.json", '{\n  "a": {\n    "b": 1\n  }\n}\n')
        values, broken = read(path, FileFormat.JSONL)
        assert values == []
        assert {row.reason for row in broken} == {"broken_json"}


class TestJsonArray:
    def test_elements_of_any_kind(self, tmp_path: Path) -> None:
        elements = [{"a": "头痛"}, "text", ["q", "a"], 12, 1.5, None, True]
        for indent in (None, 2):
            path = write(tmp_path, "a.json", json.dumps(elements, ensure_ascii=False, indent=indent))
            assert read(path) == (elements, [])

    @pytest.mark.parametrize("data", ["", " \n", "[]", " [ ] \n", "\ufeff[]"])
    def test_nothing_in_it(self, tmp_path: Path, data: str) -> None:
        assert read(write(tmp_path, "a.json", data), FileFormat.JSON_ARRAY) == ([], [])

    @pytest.mark.parametrize(
        ("data", "kept", "complaint"),
        [
            ('[{"a": 1}, {"a": 2}, {"a"', 2, "after 2 elements"),
            ('[{"a": 1}, {"a": "cut he', 1, "after 1 elements"),
            ('[{"a": 1},', 1, "the file ends inside the array, after 1 elements"),
            ('[{"a": 1}', 1, "the file ends inside the array"),
            ('[{"a": 1}]\n[{"a": 2}]', 1, "there is more after the end of the array"),
            ('[{"a": 1}, {"b": [2, {', 1, "after 1 elements, at character 11"),
        ],
    )
    def test_a_break_keeps_what_stands_before_it(
        self, tmp_path: Path, data: str, kept: int, complaint: str
    ) -> None:
        values, broken = read(write(tmp_path, "a.json", data), FileFormat.JSON_ARRAY)
        assert len(values) == kept
        assert reasons(broken) == [(kept, "truncated_array")]
        assert complaint in broken[0].detail

    @pytest.mark.parametrize(
        "element",
        [
            '{"a": 51 "b": 2}', '{a: 51}', '{"a": "x}', '{"a": "he said "no, [never", and left"}',
            '{"a": ]}', '{"a": [51}', '{"a": {"b": 51}', '{"a": 51, }, }', '', '{"a": "\\x, ["}', 'nil',
            '{"a": "]}, {" "b": "\\"[" 1}', '{"a": [[1, 2}',
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("separator", [", ", ",\n", ",\n  "])
    @pytest.mark.parametrize("chunk", [7, 1 << 20])
    def test_a_broken_element_costs_itself(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, element: str, separator: str, chunk: int
    ) -> None:
        monkeypatch.setattr(text_window, "CHUNK_BYTES", chunk)
        elements = [json.dumps({"a": number, "s": 'x"], [{'}) for number in range(100)]
        elements[50] = element
        values, broken = read(write(tmp_path, "a.json", f"[{separator.join(elements)}]"))
        assert [value["a"] for value in values] == [number for number in range(100) if number != 50]
        assert {row.reason for row in broken} == {"broken_json"}
        assert broken[0].row == 50
        assert "after 50 elements, at character " in broken[0].detail
        assert broken[0].raw.startswith(element.strip()[:5])
        assert len(broken) == 1 + element.count("}, }")

    def test_a_missing_comma_costs_nothing(self, tmp_path: Path) -> None:
        elements = [{"a": number} for number in range(1000)]
        data = json.dumps(elements).replace('{"a": 50}, ', '{"a": 50} ')
        assert read(write(tmp_path, "a.json", data)) == (elements, [])

    def test_what_stands_between_elements_is_a_fault(self, tmp_path: Path) -> None:
        values, broken = read(write(tmp_path, "a.json", "[1, 2,, 3 x, 4}, 5]"), FileFormat.JSON_ARRAY)
        assert values == [1, 2, 3, 4, 5]
        assert [(row.row, row.raw) for row in broken] == [(2, ","), (4, "x,"), (6, "},")]

    def test_quirks_do_not_cost_the_rest(self, tmp_path: Path) -> None:
        data = b'[{"a": NaN}, {"a": "x\x00\ry"}, {"a": "\\ud800"}, {"a": 1e999}, {"a": 1},]'
        values, broken = read(write(tmp_path, "a.json", data))
        assert values == [{"a": None}, {"a": "x\x00\ry"}, {"a": "\ufffd"}, {"a": None}, {"a": 1}]
        assert broken == []

    @pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
    def test_an_illegal_byte_costs_one_element(self, tmp_path: Path, encoding: str) -> None:
        good = '{"a": "头痛发热咳嗽"}'.encode(encoding)
        data = b"[" + good + b", " + b'{"a": "\xff", "b": "\xff"}' + b", " + good + b', {"a": "\xff"}]'
        values, broken = read(write(tmp_path, "a.json", data))
        assert values == [{"a": "头痛发热咳嗽"}] * 2
        assert reasons(broken) == [(1, "encoding"), (3, "encoding")]
        assert f"offset {1 + len(good) + 2 + 7} is illegal" in broken[0].detail
        assert f"offset {len(data) - 4} is illegal" in broken[1].detail

    def test_gb18030(self, tmp_path: Path) -> None:
        rows = [{"a": "乗𠀀"}, "痛"]
        path = write(tmp_path, "a.json", json.dumps(rows, ensure_ascii=False), "gb18030")
        assert read(path) == (rows, [])

    def test_another_format_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            IngestError, match=r"a\.json is declared a JSON array but starts with '\{'.*jsonl"
        ):
            read(write(tmp_path, "a.json", '{"a": 1}\n'), FileFormat.JSON_ARRAY)

    @settings(max_examples=60, deadline=None)
    @given(
        elements=st.lists(
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(st.characters(exclude_categories=["Cs"])),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text("ab痛"), inner, max_size=3)
                ),
                max_leaves=6,
            ),
            max_size=12,
        ),
        ascii_only=st.booleans(),
        indent=st.sampled_from([None, 1, 40]),
        chunk=st.integers(1, 9),
    )
    def test_any_array_cut_anywhere_reads_as_json_does(
        self, tmp_path_factory: pytest.TempPathFactory, elements: list[Any], ascii_only: bool,
        indent: int | None, chunk: int,
    ) -> None:  # fmt: skip
        data = json.dumps(elements, ensure_ascii=ascii_only, indent=indent)
        path = write(tmp_path_factory.mktemp("array"), "a.json", data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_window, "CHUNK_BYTES", chunk)
            assert read(path, FileFormat.JSON_ARRAY) == (elements, [])

    @pytest.mark.parametrize("chunk", [1, 2, 3, 5])
    def test_numbers_cut_anywhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
        monkeypatch.setattr(text_window, "CHUNK_BYTES", chunk)
        path = write(tmp_path, "a.json", "[0.5,-1e+3,1234,1.5E-2,-0]")
        assert read(path, FileFormat.JSON_ARRAY) == ([0.5, -1000.0, 1234, 0.015, 0], [])

    def test_memory_stays_bounded(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        element = json.dumps({"text": "x" * 10_000}).encode()
        with path.open("wb") as file:
            file.write(b"[" + element)
            for _ in range(2_000):
                file.write(b"," + element)
            file.write(b"]")
        tracemalloc.start()
        try:
            rows = sum(
                len(batch.rows) for batch in read_rows(path, file_format=FileFormat.JSON_ARRAY, batch_rows=64)
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert rows == 2_001
        assert peak < path.stat().st_size / 2


class TestText:
    def test_lines(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "\ufeffone\r\n\n　\n  two\rb \u2028c\nthree")
        assert read(path) == (["one", "  two\rb \u2028c", "three"], [])

    def test_an_illegal_byte_costs_one_line(self, tmp_path: Path) -> None:
        data = "腹痛腹泻\n".encode("gb18030") + b"\xff\n" + "咳嗽\n".encode("gb18030")
        values, broken = read(write(tmp_path, "a.txt", data))
        assert values == ["腹痛腹泻", "咳嗽"]
        assert reasons(broken) == [(1, "encoding")]
        assert "0xff at offset 9 is illegal in gb18030" in broken[0].detail

    def test_blocks(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "\n\nq1\r\na1\r\n\r\n \r\nq2\n\n\nq3\na3", "gb18030")
        assert read(path, FileFormat.TEXT_BLOCKS) == (["q1\na1", "q2", "q3\na3"], [])

    def test_a_line_that_starts_with_many_spaces_is_not_blank(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "q\n" + " " * 500 + "a\n")
        assert read(path, FileFormat.TEXT_BLOCKS) == (["q\n" + " " * 500 + "a"], [])

    def test_an_illegal_byte_costs_one_block(self, tmp_path: Path) -> None:
        data = "腹痛\n腹泻\n\n".encode() + b"x\n\xff\n\n" + "咳嗽".encode()
        values, broken = read(write(tmp_path, "a.txt", data), FileFormat.TEXT_BLOCKS)
        assert values == ["腹痛\n腹泻", "咳嗽"]
        assert reasons(broken) == [(1, "encoding")]
        assert "offset 17 " in broken[0].detail

    def test_a_block_too_large_is_one_broken_row(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(text, "MAX_LINE_BYTES", 20)
        path = write(tmp_path, "a.txt", "one\n\n" + "long line\n" * 5 + "\ntwo\n")
        values, broken = read(path, FileFormat.TEXT_BLOCKS)
        assert values == ["one", "two"]
        assert reasons(broken) == [(1, "line_too_long")]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
    def test_records(self, tmp_path: Path, encoding: str) -> None:
        data = "\nid=1\r\n病人：\n\n头痛\n\nid=2\n医生：x\rid=3\n id=4\n"
        path = write(tmp_path, "a.txt", data, encoding)
        expected = ["id=1\n病人：\n\n头痛", "id=2\n医生：x\rid=3\n id=4"]
        assert read(path, record_start=r"^id=\d+$") == (expected, [])

    def test_what_stands_before_the_first_record_is_one(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "书名：甲\n<目录>卷一\nx\n<目录>卷二\n")
        values, broken = read(path, FileFormat.TEXT_RECORDS, record_start="<目录>")
        assert (values, broken) == (["书名：甲", "<目录>卷一\nx", "<目录>卷二"], [])

    def test_an_illegal_byte_costs_one_record(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", b"#1\nx\n#2\n" + "头痛发热".encode() + b"\xff\n#3\ny\n")
        values, broken = read(path, record_start="#")
        assert values == ["#1\nx", "#3\ny"]
        assert reasons(broken) == [(1, "encoding")]

    @pytest.mark.parametrize(
        ("start", "complaint"),
        [
            ("(", r"'record_start: \(' is no regular expression"),
            (None, r"a\.txt is declared text in records; say in 'record_start'"),
        ],
    )
    def test_a_wrong_start_is_named(self, tmp_path: Path, start: str | None, complaint: str) -> None:
        with pytest.raises(IngestError, match=complaint):
            read(write(tmp_path, "a.txt", "# one\n"), FileFormat.TEXT_RECORDS, record_start=start)

    def test_a_file_without_a_start_is_one_record(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "one\n\ntwo\n")
        assert read(path, FileFormat.TEXT_RECORDS, record_start="#") == (["one\n\ntwo"], [])

    def test_lines_of_a_block_as_columns(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "q1\na1\n\n\nq2\na2\nmore\n\nq3\n")
        values, broken = read(path, FileFormat.TEXT_BLOCKS, columns=["question", "answer"])
        assert broken == []
        assert values == [
            {"question": "q1", "answer": "a1"},
            {"question": "q2", "answer": "a2\nmore"},
            {"question": "q3", "answer": None},
        ]

    def test_no_records_in_a_blank_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "\n \n")
        assert read(path, FileFormat.TEXT_RECORDS, record_start="#") == ([], [])

    def test_document(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "书名：甲\r\n\r\n内容\r\n", "gb18030")
        assert read(path, FileFormat.TEXT_DOCUMENT) == (["书名：甲\n\n内容"], [])
        assert read(write(tmp_path, "b.txt", " \n\n"), FileFormat.TEXT_DOCUMENT) == ([], [])


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"gone\.json is missing; materialise"):
        read(tmp_path / "gone.json")
    with pytest.raises(IngestError, match="is a folder"):
        read(tmp_path)


@pytest.mark.parametrize("max_rows", [1, 3, 4, 7, None])
def test_no_more_rows_than_asked_for(tmp_path: Path, max_rows: int | None) -> None:
    path = write(tmp_path, "a.jsonl", "1\n2\nbroken\n4\n5\n")
    values, broken = read(path, max_rows=max_rows)
    assert len(values) + len(broken) == min(max_rows or 5, 5)


def test_a_batch_ends_early_where_rows_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medpipe.ingest.batches.BATCH_BYTES", 50)
    path = write(tmp_path, "a.txt", "\n".join(["x" * 30] * 6))
    sizes = [len(batch.rows) for batch in read_rows(path, file_format=FileFormat.TEXT_LINES)]
    assert sizes == [2, 2, 2]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.json*", ["a.json", "b.jsonl"]),
        ("a.json", ["a.json"]),
        ("*/*.json", ["sub/c.json"]),
        ("**/*.json", ["a.json", "sub/c.json", "sub/deep/d.json"]),
        ("sub/**", ["sub/c.json", "sub/deep/d.json"]),
        ("s?b/deep/[d-f].json", ["sub/deep/d.json"]),
        ("odd [1].txt", ["odd [1].txt"]),
        ("*.parquet", []),
        ("manifest.json", []),
        ("HEAD", []),
        (".hidden.json", []),
    ],
)
def test_matching_files(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    names = [
        "a.json", "b.jsonl", "sub/c.json", "sub/deep/d.json", "odd [1].txt",
        "manifest.json", "HEAD", ".hidden.json", ".git/e.json",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert matching_files(tmp_path, pattern) == [tmp_path / name for name in expected]


def test_matching_files_of_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="is missing"):
        matching_files(tmp_path / "gone", "*")
