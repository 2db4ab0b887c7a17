"""CSV and TSV, a row at a time.

Rows are put together here and split by Python's `csv` module. Faster readers (Arrow's, Polars') give up a
whole file, or a block of it, at one illegal byte or one quote that is never closed; here it costs its row.
"""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from medpipe.ingest.batches import RAW_CHARACTERS, Fault, Record, broken
from medpipe.ingest.columns import cell_value, column_names
from medpipe.ingest.encoding import MARK, decode_marking, describe_illegal
from medpipe.ingest.lines import MAX_LINE_BYTES, Line, read_lines

COMMA, TAB = ",", "\t"
MAX_ROW_CHARACTERS = 32_000_000
"""A quote that is not closed within so many characters is no quote."""

_RAW_BYTES = 4 * RAW_CHARACTERS
_LARGEST_FIELD = 2**31 - 1
_CHUNK_BYTES = 1 << 20
_NOT_CLOSED = "unexpected end of data"
_CARRIAGE_RETURN = "\ufdd1"
"""Stands for a carriage return inside a line, which the csv module would take for its end; no text has it."""


class _TextLine(NamedTuple):
    offset: int
    text: str
    fault: Fault | None = None


class _Row(NamedTuple):
    lines: list[_TextLine]
    cells: list[str]
    fault: Fault | None = None


class _EndlessError(Exception):
    """A quoted cell goes on and on."""


def read_table(path: Path, *, encoding: str, delimiter: str, columns: Sequence[str] = ()) -> Iterator[Record]:
    """Yields each row as an object of column name and cell: a string, a list of strings, or null if empty.

    The first row names the columns unless `columns` does. Quotes count only around a whole cell, where they
    may hold delimiters and line breaks; `""` is then one quote. In TSV, which many write without any quoting,
    and in CSV within one line, quotes that break this rule are text if the row has the right number of cells
    that way; so are quotes in TSV around what would be whole rows. Rows with too few or too many cells (empty
    ones at the end apart) are faults `broken_table_row`, and so is the line of a quote that is never closed.
    Blank lines are no rows. Lines end with a line feed, or with a carriage return in a file that
    has no line feed.

    Args:
        path: the file.
        encoding: of the file.
        delimiter: between cells.
        columns: names, where the file has no header row.
    """
    rows = _Rows(path, encoding, delimiter)
    names = list(columns)
    if not names:
        header = next(rows, None)
        if header is None:
            return
        names = column_names([cell.replace(MARK, "\ufffd") for cell in header.cells])
    rows.width = len(names)
    yield from (_record(row, names) for row in rows)


def _record(row: _Row, names: list[str]) -> Record:
    fault, cells = row.fault, row.cells
    for line in row.lines:
        fault = fault or line.fault
    if fault is not None:
        return broken(*fault)
    if len(cells) != len(names):
        if len(cells) < len(names) or any(cells[len(names) :]):
            return broken(
                "broken_table_row",
                f"{len(cells)} cells in {len(names)} columns (line at offset {row.lines[0].offset})",
                "\n".join(line.text for line in row.lines),
            )
        del cells[len(names) :]
    values = [cell_value(cell) for cell in cells]
    return Record(dict(zip(names, values, strict=True)), sum(map(len, cells)))


class _Rows:
    """The rows of a table; lines that a quote swallowed wrongly are read again."""

    def __init__(self, path: Path, encoding: str, delimiter: str) -> None:
        # A limit of the whole process; memory is bounded by lines and rows here.
        csv.field_size_limit(_LARGEST_FIELD)
        self._lines = (_decoded(line, encoding) for line in _lines(path))
        self._again: deque[_TextLine] = deque()
        self._delimiter = delimiter
        self.width: int | None = None
        """Number of columns, once it is known."""

    def __iter__(self) -> Iterator[_Row]:
        return self

    def __next__(self) -> _Row:
        while True:
            line = self._next_line()
            text = line.text
            if text and not (text.isspace() and self._delimiter not in text):
                break
        if line.fault is not None and line.fault.reason == "line_too_long":
            return _Row([line], [], line.fault)
        if '"' not in text:
            return _Row([line], text.split(self._delimiter))
        if "\r" not in text:
            with suppress(csv.Error):
                return _Row([line], next(csv.reader((text,), delimiter=self._delimiter, strict=True)))
        return self._quoted(line)

    def _next_line(self) -> _TextLine:
        return self._again.popleft() if self._again else next(self._lines)

    def _quoted(self, first: _TextLine) -> _Row:
        """The row that starts with a line whose quotes do not pair, or that has a carriage return."""
        taken = [first]
        try:
            cells = next(csv.reader(self._feed(taken), delimiter=self._delimiter, strict=True))
        except (csv.Error, _EndlessError) as error:
            self._again.extendleft(reversed(taken[1:]))
            return self._literal(first, str(error), same_line=len(taken) == 1)
        if len(taken) > 1 and self._are_rows(taken):
            self._again.extendleft(reversed(taken[1:]))
            return _Row([first], first.text.split(self._delimiter))
        return _Row(taken, [cell.replace(_CARRIAGE_RETURN, "\r") for cell in cells])

    def _feed(self, taken: list[_TextLine]) -> Iterator[str]:
        """Lines for the csv module, as many as it asks for."""
        size = 0
        line: _TextLine | None = taken[0]
        while line is not None:
            size += len(line.text)
            if size > MAX_ROW_CHARACTERS and len(taken) > 1:
                raise _EndlessError(f"a quote is not closed within {MAX_ROW_CHARACTERS:,} characters")
            yield line.text.replace("\r", _CARRIAGE_RETURN) + "\n"
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is not None:
                taken.append(line)

    def _literal(self, line: _TextLine, complaint: str, *, same_line: bool) -> _Row:
        """A row whose quotes are text, if that gives the right number of cells."""
        cells = line.text.split(self._delimiter)
        within_line = same_line and complaint != _NOT_CLOSED
        if len(cells) == self.width and (self._delimiter == TAB or within_line):
            return _Row([line], cells)
        detail = f"quotes that do not pair ({complaint}; line at offset {line.offset})"
        return _Row([line], cells, Fault("broken_table_row", detail, line.text))

    def _are_rows(self, lines: list[_TextLine]) -> bool:
        """Whether lines of TSV between two quotes are rows of their own: each has all the cells."""
        tabs = (self.width or 0) - 1
        return self._delimiter == TAB and tabs > 0 and all(line.text.count(TAB) == tabs for line in lines)


def _lines(path: Path) -> Iterator[Line]:
    return _carriage_return_lines(path) if _ends_lines_with_carriage_returns(path) else read_lines(path)


def _ends_lines_with_carriage_returns(path: Path) -> bool:
    """Whether there is no line feed, and a carriage return outside of quotes in what would be the header."""
    quotes, is_found = 0, False
    with path.open("rb") as file:
        while data := file.read(_CHUNK_BYTES):
            if b"\n" in data:
                return False
            if not is_found:
                parts = data.split(b"\r")
                for part in parts[:-1]:
                    quotes += part.count(b'"')
                    is_found = is_found or quotes % 2 == 0
                quotes += parts[-1].count(b'"')
    return is_found


def _carriage_return_lines(path: Path) -> Iterator[Line]:
    """Lines that end with a carriage return alone, as old versions of Excel for the Mac write them."""
    offset, ahead, is_passed_over = 0, b"", False
    with path.open("rb") as file:
        ahead = file.read(len(codecs.BOM_UTF8))
        if ahead == codecs.BOM_UTF8:
            offset, ahead = len(ahead), b""
        while data := file.read(max(_CHUNK_BYTES, len(ahead))):
            *whole, ahead = (ahead + data).split(b"\r")
            for line in whole:
                if not is_passed_over:
                    yield Line(offset, line)
                is_passed_over = False
                offset += len(line) + 1
            if len(ahead) > MAX_LINE_BYTES:
                if not is_passed_over:
                    yield Line(offset, ahead, too_long=True)
                offset, ahead, is_passed_over = offset + len(ahead), b"", True
    if not is_passed_over:
        yield Line(offset, ahead)


def _decoded(line: Line, encoding: str) -> _TextLine:
    if line.too_long:
        raw = line.data[:_RAW_BYTES].decode(encoding, errors="replace")
        detail = f"the line at offset {line.offset} has no end"
        return _TextLine(line.offset, raw, Fault("line_too_long", detail, raw))
    try:
        return _TextLine(line.offset, line.data.decode(encoding))
    except UnicodeDecodeError:
        text, illegal, _ = decode_marking(line.data, encoding, offset=line.offset, final=True)
        raw = text.replace(MARK, "\ufffd")
        return _TextLine(line.offset, text, Fault("encoding", describe_illegal(*illegal[0], encoding), raw))
