"""Lines of a file as bytes, one at a time, with their place."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MAX_LINE_BYTES = 256_000_000
"""A longer line is no record; it is reported and passed over, so that memory stays bounded."""

_BUFFER_BYTES = 1 << 17
"""Published lines are often longer than the buffer that Python takes by itself."""
_LINE_END = b"\r\n"


class Line(NamedTuple):
    """One line without its end."""

    offset: int
    """Of its first byte within the file."""
    data: bytes
    too_long: bool = False
    """Whether `data` is only its beginning."""


def read_lines(path: Path, *, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    r"""Splits a file at `\n` only, so that other characters Python counts as line ends stay in the text.

    This is safe in UTF-8 and in GB18030: no character of either has the byte 0x0a inside. A byte order
    mark at the start of the file is left out, `\r` at the end of a line too.
    """
    offset = 0
    with path.open("rb", buffering=_BUFFER_BYTES) as file:
        while data := file.readline(max_bytes):
            start, length = offset, len(data)
            too_long = length == max_bytes and not data.endswith(b"\n")
            while too_long and (rest := file.readline(max_bytes)):
                length += len(rest)
                if rest.endswith(b"\n"):
                    break
            offset += length
            if start == 0 and data.startswith(codecs.BOM_UTF8):
                start, data = len(codecs.BOM_UTF8), data.removeprefix(codecs.BOM_UTF8)
            yield Line(start, data.rstrip(_LINE_END), too_long)
