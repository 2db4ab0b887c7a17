"""Plain text: one record a line, a block between blank lines, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medpipe.ingest.batches import RAW_CHARACTERS, Record, broken
from medpipe.ingest.encoding import IllegalByteError, decode
from medpipe.ingest.lines import MAX_LINE_BYTES, Line, read_lines

_RAW_BYTES = 4 * RAW_CHARACTERS


def read_text_lines(path: Path, *, encoding: str) -> Iterator[Record]:
    """Yields each line that is not blank."""
    for line in read_lines(path):
        yield from _records([line], encoding)


def read_text_blocks(path: Path, *, encoding: str) -> Iterator[Record]:
    r"""Yields each run of lines between blank lines, its lines joined by `\n`."""
    block: list[Line] = []
    size = 0
    for line in read_lines(path):
        if _is_blank(line, encoding):
            yield from _records(block, encoding)
            block, size = [], 0
        elif size + len(line.data) <= MAX_LINE_BYTES:
            block.append(line)
            size += len(line.data)
        elif not block[-1].too_long:
            block.append(line._replace(data=b"", too_long=True))
    yield from _records(block, encoding)


def read_text_document(path: Path, *, encoding: str) -> Iterator[Record]:
    r"""Yields the whole file as one record, line ends as `\n`; none if it is blank."""
    if path.stat().st_size > MAX_LINE_BYTES:
        with path.open("rb") as file:
            yield _fault_too_long(Line(0, file.read(_RAW_BYTES)), encoding)
        return
    yield from _records(list(read_lines(path)), encoding)


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
