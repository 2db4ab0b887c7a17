"""Records of a published file, whatever its format, in bounded batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from medpipe.catalog.source import FileFormat
from medpipe.ingest.batches import BrokenRow, Record, RowBatch, batched
from medpipe.ingest.encoding import detect_encoding
from medpipe.ingest.errors import IngestError
from medpipe.ingest.formats import detect_format
from medpipe.ingest.json_array import read_json_array
from medpipe.ingest.json_lines import LineBatch, read_line_batches
from medpipe.ingest.json_object import read_json_object
from medpipe.ingest.patterns import may_lead_to, path_matches
from medpipe.ingest.python_literals import read_python_literals
from medpipe.ingest.tables import COMMA, TAB, read_table
from medpipe.ingest.text import read_text_blocks, read_text_document, read_text_lines, read_text_records

__all__ = [
    "BrokenRow",
    "IngestError",
    "LineBatch",
    "RowBatch",
    "detect_format",
    "matching_files",
    "read_batches",
    "read_rows",
]

_BINARY = (FileFormat.PARQUET, FileFormat.ARROW, FileFormat.EXCEL)


def read_rows(
    path: Path,
    *,
    file_format: FileFormat = FileFormat.AUTO,
    columns: Sequence[str] = (),
    records: str | None = None,
    record_start: str | None = None,
    max_rows: int | None = None,
    batch_rows: int = 2048,
) -> Iterator[RowBatch]:
    """`read_batches`, all of it parsed."""
    batches = read_batches(
        path,
        file_format=file_format,
        columns=columns,
        records=records,
        record_start=record_start,
        max_rows=max_rows,
        batch_rows=batch_rows,
    )
    for batch in batches:
        yield batch.parsed() if isinstance(batch, LineBatch) else batch


def read_batches(
    path: Path,
    *,
    file_format: FileFormat = FileFormat.AUTO,
    columns: Sequence[str] = (),
    records: str | None = None,
    record_start: str | None = None,
    max_rows: int | None = None,
    batch_rows: int = 2048,
) -> Iterator[RowBatch | LineBatch]:
    """Reads a file's records in order.

    Blank lines and rows and the header row of a table are no records. A record that cannot be read becomes a
    `BrokenRow` with one of the reasons `broken_json`, `broken_literal`, `broken_table_row`, `broken_xml`,
    `encoding`, `line_too_long`, `truncated_array`, `truncated_object`; a file never fails for one of them.

    Args:
        path: the file, unpacked.
        file_format: its format; `AUTO` looks at suffix and content, as `detect_format` says.
        columns: names of a table's columns, where it has no header row, or of the lines of a text block.
        records: where the records of a JSON object are, as `read_json_object` takes it.
        record_start: for text in records: regular expression of the line that starts one.
        max_rows: how many records are read at most.
        batch_rows: most records in a batch.

    Yields:
        Batches of at most `batch_rows` records; those of JSON lines are not parsed yet. Values are parsed
        JSON for the JSON formats and Python literals, strings for the text formats, objects of column and
        value for tables (in CSV and TSV a value is a string, a list of strings, or null), and articles as
        `read_xml` describes them.

    Raises:
        IngestError: the file is missing, a folder, in UTF-16, of another format than declared, or of a binary
            format and damaged.
    """
    if path.is_dir():
        raise IngestError(
            f"{path} is a folder; name the files in it by a pattern such as '{path.name}/*.jsonl'"
        )
    if not path.is_file():
        raise IngestError(f"{path} is missing; materialise the source's raw asset again")
    if file_format is FileFormat.AUTO:
        file_format, records = detect_format(
            path, records=records, record_start=record_start, has_columns=bool(columns)
        )
    if file_format is FileFormat.JSONL:
        encoding = detect_encoding(path)
        yield from read_line_batches(path, encoding=encoding, max_rows=max_rows, batch_rows=batch_rows)
        return
    if file_format in _BINARY:
        found = _binary_records(path, file_format, columns)
    else:
        found = _text_records(path, file_format, columns, records, record_start)
    yield from batched(islice(found, max_rows), batch_rows=batch_rows)


def _binary_records(path: Path, file_format: FileFormat, columns: Sequence[str]) -> Iterator[Record]:
    # The libraries take long to import and only a step that reads such a file needs them.
    if file_format is FileFormat.EXCEL:
        from medpipe.ingest.excel import read_excel

        return read_excel(path, columns=columns)
    from medpipe.ingest.columnar import read_arrow, read_parquet

    return read_parquet(path) if file_format is FileFormat.PARQUET else read_arrow(path)


def _text_records(
    path: Path,
    file_format: FileFormat,
    columns: Sequence[str],
    records: str | None,
    record_start: str | None,
) -> Iterator[Record]:
    encoding = detect_encoding(path)
    match file_format:
        case FileFormat.JSON_ARRAY:
            return read_json_array(path, encoding=encoding)
        case FileFormat.JSON_OBJECT:
            return read_json_object(path, encoding=encoding, records=records)
        case FileFormat.PYTHON_LITERALS:
            return read_python_literals(path, encoding=encoding)
        case FileFormat.CSV | FileFormat.TSV:
            delimiter = COMMA if file_format is FileFormat.CSV else TAB
            return read_table(path, encoding=encoding, delimiter=delimiter, columns=columns)
        case FileFormat.TEXT_LINES:
            return read_text_lines(path, encoding=encoding)
        case FileFormat.TEXT_BLOCKS:
            return read_text_blocks(path, encoding=encoding, columns=columns)
        case FileFormat.TEXT_RECORDS:
            return read_text_records(path, encoding=encoding, record_start=_required(path, record_start))
        case FileFormat.TEXT_DOCUMENT:
            return read_text_document(path, encoding=encoding)
        case FileFormat.XML:
            from medpipe.ingest.xml import read_xml

            return read_xml(path, encoding=encoding)
    raise ValueError(f"no reader for {file_format}")


def _required(path: Path, record_start: str | None) -> str:
    if record_start is None:
        raise IngestError(
            f"{path} is declared text in records; say in 'record_start' how the first line of one looks, "
            r"such as '^id=\d+$'"
        )
    return record_start


def matching_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a snapshot that a catalog entry's path or glob pattern means, sorted by path.

    `manifest.json`, `HEAD` and dot files never match.

    Raises:
        IngestError: the folder is missing.
    """
    if not folder.is_dir():
        raise IngestError(f"{folder} is missing; materialise the source's raw asset again")
    found = []
    for root, folders, names in os.walk(folder):
        relative = Path(root).relative_to(folder)
        folders[:] = [name for name in folders if may_lead_to((relative / name).as_posix(), pattern)]
        found += [path for name in names if path_matches(path := (relative / name).as_posix(), pattern)]
    return [folder / path for path in sorted(found)]
