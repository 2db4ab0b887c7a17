"""Plain text: one record a line, a block between blank lines, from one heading to the next, or a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from medpipe.ingest.batches import RAW_CHARACTERS, Record, broken
from medpipe.ingest.encoding import IllegalByteError, decode
from medpipe.ingest.errors import IngestError
from medpipe.ingest.lines import MAX_LINE_BYTES, Line, read_lines

_RAW_BYTES = 4 * RAW_CHARACTERS


def read_text_lines(path: Path, *, encoding: str) -> Iterator[Record]:
    """Yields each line that is not blank."""
    for line in read_lines(path):
        yield from _records([line], encoding)


def read_text_blocks(path: Path, *, encoding: str, columns: Sequence[str] = ()) -> Iterator[Record]:
    r"""Yields each run of lines between blank lines, its lines joined by `\n`.

    With `columns` a record is an object: each line is the value of a column, the last column has all the
    lines that are left, and a column without a line is null.
    """
    block = _Block(encoding)
    for line in read_lines(path):
        if _is_blank(line, encoding):
            yield from _in_columns(block.taken(), columns)
        else:
            block.add(line)
    yield from _in_columns(block.taken(), columns)


def _in_columns(records: Iterator[Record], columns: Sequence[str]) -> Iterator[Record]:
    for record in records:
        if columns and record.fault is None:
            lines = record.value.split("\n", len(columns) - 1)
            yield record._replace(value=dict(zip_longest(columns, lines)))
        else:
            yield record


def read_text_records(path: Path, *, encoding: str, record_start: str) -> Iterator[Record]:
    r"""Yields each run of lines from one whose beginning matches to the next, joined by `\n`.

    What stands before the first such line is a record of its own, unless it is blank; so a file without
    such a line is one record.

    Args:
        path: the file.
        encoding: of the file.
        record_start: regular expression of the line that starts a record.

    Raises:
        IngestError: it is no regular expression.
    """
    try:
        start = re.compile(record_start)
    except re.error as error:
        raise IngestError(f"'record_start: {record_start}' is no regular expression: {error}") from None
    block = _Block(encoding)
    for line in read_lines(path):
        text = line.data.decode(encoding, errors="replace").removeprefix("\ufeff")
        if start.match(text):
            yield from block.taken()
        block.add(line)
    yield from block.taken()


def read_text_document(path: Path, *, encoding: str) -> Iterator[Record]:
    r"""Yields the whole file as one record, line ends as `\n`; none if it is blank."""
    if path.stat().st_size > MAX_LINE_BYTES:
        with path.open("rb") as file:
            yield _fault_too_long(Line(0, file.read(_RAW_BYTES)), encoding)
        return
    yield from _records(list(read_lines(path)), encoding)


class _Block:
    """Lines of the record at hand, so many that memory stays bounded."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._lines: list[Line] = []
        self._size = 0

    def add(self, line: Line) -> None:
        if self._size + len(line.data) <= MAX_LINE_BYTES:
            self._lines.append(line)
            # A line takes memory even if it is empty.
            self._size += len(line.data) + 1
        elif not self._lines or not self._lines[-1].too_long:
            self._lines.append(line._replace(data=line.data[:_RAW_BYTES], too_long=True))

    def taken(self) -> Iterator[Record]:
        """The one record of these lines, none if they are blank; the next lines make another one."""
        lines, self._lines, self._size = self._lines, [], 0
        yield from _records(lines, self._encoding)


def _records(lines: list[Line], encoding: str) -> Iterator[Record]:
    """The one record that these lines make; none if they are blank."""
    too_long = next((line for line in lines if line.too_long), None)
    if too_long is not None:
        yield _fault_too_long(too_long, encoding)
        return
    data = b"\n".join(line.data for line in lines)
    try:
        text = "\n".join(decode(line.data, encoding, offset=line.offset) for line in lines).strip("\ufeff\n")
    except IllegalByteError as error:
        yield broken("encoding", str(error), data[:_RAW_BYTES].decode(encoding, errors="replace"))
        return
    if text.strip():
        yield Record(text, len(data))


def _is_blank(line: Line, encoding: str) -> bool:
    return not line.too_long and not line.data.decode(encoding, errors="replace").strip()


def _fault_too_long(line: Line, encoding: str) -> Record:
    detail = f"the record at offset {line.offset} has more than {MAX_LINE_BYTES:,} bytes"
    return broken("line_too_long", detail, line.data[:_RAW_BYTES].decode(encoding, errors="replace"))
