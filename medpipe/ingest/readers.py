"""Records of a published file, whatever its format, in bounded batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medpipe.catalog.source import FileFormat
from medpipe.ingest.batches import BrokenRow, Record, RowBatch, batched
from medpipe.ingest.encoding import decode_marking, detect_encoding
from medpipe.ingest.errors import IngestError
from medpipe.ingest.json_array import read_json_array
from medpipe.ingest.json_lines import read_json_lines
from medpipe.ingest.json_values import BrokenJsonError, parse_json
from medpipe.ingest.patterns import may_lead_to, path_matches
from medpipe.ingest.text import read_text_blocks, read_text_document, read_text_lines

__all__ = ["BrokenRow", "IngestError", "RowBatch", "detect_format", "matching_files", "read_rows"]

_READERS: dict[FileFormat, Callable[..., Iterator[Record]]] = {
    FileFormat.JSONL: read_json_lines,
    FileFormat.JSON_ARRAY: read_json_array,
    FileFormat.TEXT_LINES: read_text_lines,
    FileFormat.TEXT_BLOCKS: read_text_blocks,
    FileFormat.TEXT_DOCUMENT: read_text_document,
}
_LINES_SUFFIXES = (".jsonl", ".ndjson")
_JSON_SUFFIXES = (".json", "", *_LINES_SUFFIXES)
_PROBE_BYTES = 1 << 20


def read_rows(path: Path, *, file_format: FileFormat, batch_rows: int = 2048) -> Iterator[RowBatch]:
    """Reads a file's records in order.

    Blank lines are no records. A record that cannot be read becomes a `BrokenRow` with one of the reasons
    `broken_json`, `encoding`, `line_too_long`, `truncated_array`; a file never fails for one of them.

    Args:
        path: the file.
        file_format: its format; `AUTO` looks at the suffix and the first bytes.
        batch_rows: most records in a batch.

    Yields:
        Batches of at most `batch_rows` records; values are parsed JSON, or strings for the text formats.

    Raises:
        IngestError: the file is missing, a folder, in UTF-16, or of another format than declared.
    """
    if path.is_dir():
        raise IngestError(
            f"{path} is a folder; name the files in it by a pattern such as '{path.name}/*.jsonl'"
        )
    if not path.is_file():
        raise IngestError(f"{path} is missing; materialise the source's raw asset again")
    encoding = detect_encoding(path)
    if file_format is FileFormat.AUTO:
        file_format = detect_format(path, encoding=encoding)
    yield from batched(_READERS[file_format](path, encoding=encoding), batch_rows=batch_rows)


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


def detect_format(path: Path, *, encoding: str) -> FileFormat:
    """The format of a file by suffix and content.

    `.txt` is one record a line. `.json`, `.jsonl`, `.ndjson` and files without a suffix are a JSON array if
    they start with `[`, unless that bracket opens and closes on a line of its own (JSONL of lists); else
    JSONL.

    Raises:
        IngestError: the suffix is another one.
    """
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return FileFormat.TEXT_LINES
    if suffix not in _JSON_SUFFIXES:
        raise IngestError(
            f"{path.name}: no format is known for the suffix '{suffix}'; set 'format' for this file in the "
            "catalog"
        )
    with path.open("rb") as file:
        data = file.read(_PROBE_BYTES)
        text, _, _ = decode_marking(data, encoding, offset=0, final=len(data) < _PROBE_BYTES)
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith("["):
        return FileFormat.JSONL
    line, _, rest = text.partition("\n")
    try:
        value = parse_json(line)
    except BrokenJsonError:
        return FileFormat.JSON_ARRAY
    lists_in_lines = bool(rest.strip()) or (suffix in _LINES_SUFFIXES and not _holds_records(value))
    return FileFormat.JSONL if lists_in_lines else FileFormat.JSON_ARRAY


def _holds_records(value: list[Any]) -> bool:
    return any(isinstance(item, dict) for item in value)
