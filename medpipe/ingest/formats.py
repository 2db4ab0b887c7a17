"""Which format a file is in, by its suffix and its content."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from medpipe.catalog.source import FileFormat
from medpipe.ingest.encoding import GB18030, UTF8
from medpipe.ingest.errors import IngestError
from medpipe.ingest.json_object import WHOLE
from medpipe.ingest.json_shape import Shape, is_object, object_shape
from medpipe.ingest.json_values import BrokenJsonError, parse_json

_BY_SUFFIX = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.TSV,
    ".tab": FileFormat.TSV,
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
    ".arrow": FileFormat.ARROW,
    ".feather": FileFormat.ARROW,
    ".xls": FileFormat.EXCEL,
    ".xlsx": FileFormat.EXCEL,
    ".xlsm": FileFormat.EXCEL,
    ".xlsb": FileFormat.EXCEL,
    ".xml": FileFormat.XML,
    ".nxml": FileFormat.XML,
}
_BY_MAGIC = {
    b"PAR1": FileFormat.PARQUET,
    b"ARROW1": FileFormat.ARROW,
    b"\xff\xff\xff\xff": FileFormat.ARROW,
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": FileFormat.EXCEL,
}
"""First bytes of the binary formats; the third is an Arrow stream."""
_XML_STARTS = ("<?xml", "<!DOCTYPE article", "<article", "<PubmedArticle")
_LINES_SUFFIXES = (".jsonl", ".ndjson")
_JSON_SUFFIXES = (".json", *_LINES_SUFFIXES)
_PROBE_BYTES = 1 << 20
_LINES_LOOKED_AT = 20
ARCHIVE_SUFFIXES = (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")
"""Of what is not opened where a format is asked for."""


class Found(NamedTuple):
    """A file's format."""

    format: FileFormat
    records: str | None = None
    """Where the records of a JSON object are, as `read_json_object` takes it."""


def has_known_suffix(name: str) -> bool:
    """Whether `detect_format` knows what a file with this name may be."""
    suffix = Path(name).suffix.lower()
    return suffix in _BY_SUFFIX or suffix in ("", ".txt", *_JSON_SUFFIXES)


def detect_format(
    path: Path, *, records: str | None = None, record_start: str | None = None, has_columns: bool = False
) -> Found:
    """The format of a file by its suffix and its first megabyte.

    A suffix of a table, of XML or of a binary format decides. Of the others the content does:

    - `.json`, `.jsonl`, `.ndjson`: an array if it starts with `[`, unless that bracket opens and closes on a
      line of its own (JSONL of lists; where the first line is broken, most of the first 20 decide); an object
      or JSONL as `object_shape` says if it starts with `{`.
    - `.txt`: JSONL if at least half of its first 20 lines are JSON objects, else one record a line.
    - no suffix: as `.json` if it starts with `{` or `[`; a binary format by its first bytes; XML; else one
      record a line.

    What the catalog says of the records goes before that: `records` means a JSON object, `record_start` text
    in records, `columns` (outside of JSON) a table.

    Raises:
        IngestError: the suffix is another one.
    """
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return Found(_BY_SUFFIX[suffix])
    if suffix in ARCHIVE_SUFFIXES:
        raise IngestError(
            f"{path.name} is an archive that is not opened; unpack it yourself and name the unpacked files "
            "in the catalog"
        )
    if not has_known_suffix(path.name):
        raise IngestError(
            f"{path.name}: no format is known for the suffix '{suffix}'; set 'format' for this file in the "
            "catalog"
        )
    if records is not None:
        return Found(FileFormat.JSON_OBJECT, records)
    if record_start is not None:
        return Found(FileFormat.TEXT_RECORDS)
    with path.open("rb") as file:
        data = file.read(_PROBE_BYTES)
    magic = next((kind for start, kind in _BY_MAGIC.items() if data.startswith(start)), None)
    if magic is not None and suffix == "":
        return Found(magic)
    text = _decoded(data)
    is_whole = len(data) < _PROBE_BYTES
    if suffix == ".txt" or (suffix == "" and not text.startswith(("[", "{"))):
        return Found(_text_format(text, has_columns=has_columns, is_whole=is_whole))
    if text.startswith("["):
        return Found(
            FileFormat.JSONL if _is_lists_in_lines(text, suffix, is_whole=is_whole) else FileFormat.JSON_ARRAY
        )
    shape = object_shape(text, is_whole=is_whole)
    if shape is Shape.LINES or suffix in _LINES_SUFFIXES:
        return Found(FileFormat.JSONL)
    return Found(FileFormat.JSON_OBJECT, WHOLE if shape is Shape.ONE_RECORD else None)


def _decoded(data: bytes) -> str:
    """The probe as text from its first character that is no white space; good enough to look at."""
    texts = (data.decode(encoding, errors="replace") for encoding in (UTF8, GB18030))
    return min(texts, key=lambda text: text.count("\ufffd")).lstrip("\ufeff \t\r\n")


def _text_format(text: str, *, has_columns: bool, is_whole: bool) -> FileFormat:
    line, line_end, _ = text.partition("\n")
    if has_columns:
        return FileFormat.TSV if "\t" in line else FileFormat.CSV
    lines = _first_lines(text, is_whole=is_whole)
    objects = sum(is_object(line) for line in lines)
    if (objects and 2 * objects >= len(lines)) or (line.startswith('{"') and not line_end and not is_whole):
        return FileFormat.JSONL
    return FileFormat.XML if text.startswith(_XML_STARTS) else FileFormat.TEXT_LINES


def _is_lists_in_lines(text: str, suffix: str, *, is_whole: bool) -> bool:
    """Whether a file that starts with a list is JSONL of lists, and no array of records."""
    line, _, rest = text.partition("\n")
    try:
        value = parse_json(line)
    except BrokenJsonError:
        lines = _first_lines(text, is_whole=is_whole)
        values = sum(_is_container(line) for line in lines)
        # A bracket alone opens an array; commas between its elements may be missing.
        return line.strip() != "[" and 2 * values > len(lines) - (suffix in _LINES_SUFFIXES)
    holds_records = any(isinstance(item, dict) for item in value)
    return bool(rest.strip()) or (suffix in _LINES_SUFFIXES and not holds_records)


def _is_container(line: str) -> bool:
    """Whether a line is a JSON list or object; with a comma after it, it is rather an element of an array."""
    try:
        return isinstance(parse_json(line), list | dict)
    except BrokenJsonError:
        return False


def _first_lines(text: str, *, is_whole: bool) -> list[str]:
    """The first lines that are not blank, without one that is cut by the end of the probe."""
    lines = text.split("\n")
    if not is_whole and len(lines) > 1:
        del lines[-1]
    return [line for line in lines if not line.isspace() and line][:_LINES_LOOKED_AT]
