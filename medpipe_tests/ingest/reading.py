"""What the tests of the readers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medpipe.catalog.source import FileFormat
from medpipe.ingest.readers import BrokenRow, read_rows


def read(
    path: Path, file_format: FileFormat = FileFormat.AUTO, **options: Any
) -> tuple[list[Any], list[BrokenRow]]:
    """All values and broken rows; every row number must occur once, in order."""
    values: list[Any] = []
    broken: list[BrokenRow] = []
    numbers: list[int] = []
    for batch in read_rows(path, file_format=file_format, batch_rows=3, **options):
        assert len(batch.rows) == len(batch.values)
        assert 0 < len(batch.rows) + len(batch.broken) <= 3
        values += batch.values
        broken += batch.broken
        numbers += sorted([*batch.rows, *(row.row for row in batch.broken)])
    assert numbers == list(range(len(numbers)))
    return values, broken


def write(folder: Path, name: str, data: bytes | str, encoding: str = "utf-8") -> Path:
    """Puts bytes, or text in an encoding, into a file."""
    path = folder / name
    path.write_bytes(data.encode(encoding) if isinstance(data, str) else data)
    return path


def reasons(broken: list[BrokenRow]) -> list[tuple[int, str]]:
    """Row and reason of each broken row."""
    return [(row.row, row.reason) for row in broken]
