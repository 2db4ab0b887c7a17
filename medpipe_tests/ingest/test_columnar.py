"""Parquet, Arrow and Excel."""

from __future__ import annotations

import datetime as dt
import decimal
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medpipe.ingest import columnar
from medpipe.ingest.readers import IngestError
from medpipe_tests.ingest.reading import read, reasons, write

ROWS: list[dict[str, Any]] = [
    {"q": "咳嗽", "n": 1, "x": 1.5, "ok": True, "l": ["a"], "s": {"role": "user", "d": dt.date(2020, 1, 2)}},
    {"q": None, "n": None, "x": float("nan"), "ok": None, "l": None, "s": None},
]
JSON_ROWS: list[dict[str, Any]] = [
    {"q": "咳嗽", "n": 1, "x": 1.5, "ok": True, "l": ["a"], "s": {"role": "user", "d": "2020-01-02"}},
    {"q": None, "n": None, "x": None, "ok": None, "l": None, "s": None},
]


def table_file(folder: Path, kind: str, table: pa.Table) -> Path:
    path = folder / f"a.{'parquet' if kind == 'parquet' else 'arrow'}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=2)
        return path
    new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema) as out:
        out.write_table(table, max_chunksize=2)
    return path


@pytest.mark.parametrize("kind", ["parquet", "stream", "file"])
class TestParquetAndArrow:
    def test_rows(self, tmp_path: Path, kind: str) -> None:
        path = table_file(tmp_path, kind, pa.Table.from_pylist(ROWS * 3))
        assert read(path) == (JSON_ROWS * 3, [])
        assert read(path, max_rows=3) == ((JSON_ROWS * 2)[:3], [])
        assert read(path.rename(tmp_path / "no-suffix")) == (JSON_ROWS * 3, [])

    def test_no_rows(self, tmp_path: Path, kind: str) -> None:
        assert read(table_file(tmp_path, kind, pa.table({"q": pa.array([], pa.string())}))) == ([], [])

    def test_values_as_json_has_them(self, tmp_path: Path, kind: str) -> None:
        columns = {
            "when": pa.array([dt.datetime(2020, 1, 2, 3, 4, 5)]),
            "nano": pa.array([1_577_934_245_000_000_001], pa.timestamp("ns", "UTC")),
            "time": pa.array([dt.time(3, 4)]),
            "dose": pa.array([decimal.Decimal("0.50")]),
            "bytes": pa.array(["痛".encode()]),
            "image": pa.array([b"\xff\xd8"]),
            "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
            "label": pa.array(["内科"]).dictionary_encode(),
            "large": pa.array(["x"], pa.large_string()),
            "nested": pa.array([[[1.0], [float("inf")]]]),
        }
        values, broken = read(table_file(tmp_path, kind, pa.table(columns)))
        assert broken == []
        assert values == [
            {
                "when": "2020-01-02T03:04:05",
                "nano": "2020-01-02T03:04:05.000000001+00:00",
                "time": "03:04:00",
                "dose": "0.50",
                "bytes": "痛",
                "image": None,
                "map": {"a": 1},
                "label": "内科",
                "large": "x",
                "nested": [[1.0], [None]],
            }
        ]

    def test_a_text_that_is_not_utf8_costs_its_row(self, tmp_path: Path, kind: str) -> None:
        offsets = pa.py_buffer(b"".join(number.to_bytes(4, "little") for number in (0, 1, 2, 3)))
        texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffb"))
        values, broken = read(table_file(tmp_path, kind, pa.table({"q": texts, "n": [0, 1, 2]})))
        assert values == [{"q": "a", "n": 0}, {"q": "b", "n": 2}]
        assert reasons(broken) == [(1, "encoding")]

    def test_columns_of_the_same_name(self, tmp_path: Path, kind: str) -> None:
        table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["q", "q"])
        assert read(table_file(tmp_path, kind, table)) == ([{"q": "x", "q_2": "y"}], [])

    @pytest.mark.parametrize("damage", ["cut", "empty", "other"])
    def test_a_damaged_file_is_named(self, tmp_path: Path, kind: str, damage: str) -> None:
        path = table_file(tmp_path, kind, pa.table({"q": ["x" * 1000] * 10}))
        data = path.read_bytes()
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other": b"q,a\n1,2\n"}[damage])
        with pytest.raises(IngestError, match=r"a\.\w+ cannot be read as (Parquet|Arrow) .*fetch it again"):
            read(path)

    def test_large_rows_come_a_few_at_a_time(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(columnar, "BATCH_BYTES", 3_000)
        sizes = []
        records = columnar._records
        monkeypatch.setattr(
            columnar, "_records", lambda batch: (sizes.append(batch.num_rows), records(batch))[1]
        )
        path = table_file(tmp_path, kind, pa.table({"q": [f"{number:04}" * 250 for number in range(20)]}))
        assert len(read(path)[0]) == 20
        assert max(sizes) <= 2 + (kind == "parquet")


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_offsets_that_lead_astray_are_damage_and_no_crash(tmp_path: Path, kind: str) -> None:
    offsets = pa.py_buffer(b"".join(number.to_bytes(4, "little") for number in (0, 2**30, 2, 3)))
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"abc"))
    with pytest.raises(IngestError, match="cannot be read as Arrow"):
        read(table_file(tmp_path, kind, pa.table({"q": texts})))


Sheets = dict[str, list[list[str | float | bool | None]]]


def workbook(path: Path, sheets: Sheets) -> Path:
    """The least that an `.xlsx` file needs; numbers above 40,000 are formatted as dates."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    names = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="r{number}"/>' for number, name in enumerate(sheets, 1)
    )
    targets = "".join(
        f'<Relationship Id="r{number}" Type="{relations}/worksheet" Target="worksheets/s{number}.xml"/>'
        for number in range(1, len(sheets) + 1)
    )
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    files = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{relations}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">{targets}<Relationship Id="st" '
        f'Type="{relations}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet {main}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
        "</styleSheet>",
    }
    for number, rows in enumerate(sheets.values(), 1):
        files[f"xl/worksheets/s{number}.xml"] = (
            f"<worksheet {main}><sheetData>{''.join(map(_row, range(1, len(rows) + 1), rows))}"
            "</sheetData></worksheet>"
        )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _row(number: int, cells: list[str | float | bool | None]) -> str:
    written = []
    for letter, cell in zip("ABCDEFGH", cells, strict=False):
        place = f'r="{letter}{number}"'
        match cell:
            case None:
                continue
            case bool():
                written.append(f'<c {place} t="b"><v>{int(cell)}</v></c>')
            case str():
                written.append(
                    f'<c {place} t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
                )
            case _:
                style = 's="1"' if cell > 40_000 else ""
                written.append(f"<c {place} {style}><v>{cell}</v></c>")
    return f'<row r="{number}">{"".join(written)}</row>'


def children() -> set[str]:
    """Ids of the processes that this one has started, whoever asked for them."""
    return {each for task in Path("/proc/self/task").glob("*/children") for each in task.read_text().split()}


class TestExcel:
    def test_every_sheet_has_its_own_header(self, tmp_path: Path) -> None:
        sheets: Sheets = {
            "empty": [],
            "内科": [
                [None],
                ["问题", "剂量", None],
                ["咳嗽", 0.5, True],
                [None, None, None],
                ["发热 ", 3, ""],
            ],
            "外科": [["问题", "日期"], ["腹痛", 43831]],
        }
        values, broken = read(workbook(tmp_path / "a.xlsx", sheets))
        assert broken == []
        assert values == [
            {"问题": "咳嗽", "剂量": 0.5, "column_2": True},
            {"问题": "发热 ", "剂量": 3, "column_2": None},
            {"问题": "腹痛", "日期": "2020-01-01"},
        ]
        assert [type(value) for value in values[1].values()] == [str, int, type(None)]

    def test_columns_in_place_of_a_header(self, tmp_path: Path) -> None:
        path = workbook(tmp_path / "a.xlsx", {"s": [["a", "b", None], ["c", "d", "e"], ["f"]]})
        values, broken = read(path, columns=("x", "y"))
        assert values == [{"x": "a", "y": "b"}, {"x": "f", "y": None}]
        assert reasons(broken) == [(1, "broken_table_row")]

    def test_the_suffix_may_be_wrong(self, tmp_path: Path) -> None:
        path = workbook(tmp_path / "a.xls", {"s": [["q"], ["x"]]})
        assert read(path) == ([{"q": "x"}], [])

    def test_another_format_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(IngestError, match=r"a\.xls cannot be read as an Excel workbook.*'csv'"):
            read(write(tmp_path, "a.xls", "q\ta\n1\t2\n"))
        cut = write(
            tmp_path, "a.xlsx", workbook(tmp_path / "b.xlsx", {"s": [["q"], ["x"]]}).read_bytes()[:200]
        )
        with pytest.raises(IngestError, match=r"a\.xlsx cannot be read"):
            read(cut)
        with pytest.raises(IngestError, match=r"a\.xls cannot be read"):
            read(write(tmp_path, "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600))

    def test_a_cell_at_the_end_of_the_world(self, tmp_path: Path) -> None:
        path = workbook(tmp_path / "a.xlsx", {"s": [["q"], ["x"]]})
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        files["xl/worksheets/s1.xml"] = files["xl/worksheets/s1.xml"].replace(b'"A2"', b'"XFD1048576"')
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        with pytest.raises(IngestError, match=r"a\.xlsx cannot be read .*reader broke off.*as CSV"):
            read(path)

    def test_an_early_end_leaves_no_process_behind(self, tmp_path: Path) -> None:
        path = workbook(tmp_path / "a.xlsx", {"s": [["q"], *[["x" * 500]] * 5_000]})
        before = children()
        assert read(path, max_rows=2) == ([{"q": "x" * 500}] * 2, [])
        assert children() <= before
