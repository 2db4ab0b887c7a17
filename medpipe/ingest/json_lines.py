"""JSONL: one JSON value a line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from medpipe.ingest.batches import BATCH_BYTES, RAW_CHARACTERS, Record, RowBatch, batched, broken
from medpipe.ingest.encoding import UTF8, IllegalByteError, decode
from medpipe.ingest.json_values import BrokenJsonError, parse_json
from medpipe.ingest.lines import Line, read_lines

_RAW_BYTES = 4 * RAW_CHARACTERS


@dataclass
class LineShape:
    """What was found out about the lines of a file so far; it makes reading faster and changes no result."""

    schema: Any = None
    """Arrow schema of the lines that were read as a table, None before the first."""


@dataclass(frozen=True)
class LineBatch:
    """Consecutive lines of one file that are not blank: records which nobody has parsed yet."""

    first_row: int
    """0-based index of the first line among the records of its file."""
    lines: list[Line]
    encoding: str
    shape: LineShape = field(default_factory=LineShape)
    """Shared by all batches of a file."""

    def __len__(self) -> int:
        return len(self.lines)

    def value(self, position: int) -> Any:
        """The parsed value of one line.

        Raises:
            ValueError: it cannot be parsed.
        """
        record = _record(self.lines[position], self.encoding)
        if record.fault is not None:
            raise ValueError(record.fault.detail)
        return record.value

    def parsed(self) -> RowBatch:
        """The same records, parsed; a line that cannot be is a fault of its own."""
        records = (_record(line, self.encoding) for line in self.lines)
        # One batch, however long its values: the lines were counted when they were read.
        (batch,) = batched(
            records, batch_rows=len(self.lines), batch_bytes=math.inf, first_row=self.first_row
        )
        return batch


def read_line_batches(
    path: Path, *, encoding: str, max_rows: int | None, batch_rows: int
) -> Iterator[LineBatch]:
    """Gathers the lines of a file that are not blank, at most `batch_rows` and about `BATCH_BYTES` a batch.

    Args:
        path: the file.
        encoding: of the file.
        max_rows: how many records are read at most.
        batch_rows: most records in a batch.
    """
    lines: list[Line] = []
    shape = LineShape()
    row = size = 0
    for line in islice((line for line in read_lines(path) if line.too_long or value_of(line)), max_rows):
        lines.append(line)
        size += len(line.data)
        if len(lines) >= batch_rows or size >= BATCH_BYTES:
            yield LineBatch(row, lines, encoding, shape)
            row, lines, size = row + len(lines), [], 0
    if lines:
        yield LineBatch(row, lines, encoding, shape)


def value_of(line: Line) -> bytes:
    """The bytes of a line's value.

    A comma after the value belongs to no JSON value and is left out: some publish the inside of an array.
    """
    return line.data.rstrip().removesuffix(b",")


def _record(line: Line, encoding: str) -> Record:
    if line.too_long:
        return broken("line_too_long", f"the line at offset {line.offset} has no end", _raw(line, encoding))
    data = value_of(line)
    if encoding == UTF8:
        # orjson reads UTF-8 bytes without a copy; only what it refuses is looked at more closely.
        try:
            return Record(orjson.loads(data), len(data))
        except orjson.JSONDecodeError:
            pass
    return _closely_read(line, data, encoding)


def _closely_read(line: Line, data: bytes, encoding: str) -> Record:
    try:
        text = data if encoding == UTF8 else decode(data, encoding, offset=line.offset)
        return Record(parse_json(text), len(data))
    except UnicodeDecodeError as error:
        detail = (
            f"byte 0x{line.data[error.start]:02x} at offset {line.offset + error.start} is illegal in utf-8"
        )
        return broken("encoding", detail, _raw(line, encoding))
    except IllegalByteError as error:
        return broken("encoding", str(error), _raw(line, encoding))
    except BrokenJsonError as error:
        return broken("broken_json", f"{error} (line at offset {line.offset})", _raw(line, encoding))


def _raw(line: Line, encoding: str) -> str:
    return line.data[:_RAW_BYTES].decode(encoding, errors="replace")
