"""A JSON array read element by element: at no time is more of it in memory than the element at hand.

Elements are parsed by the standard library's decoder rather than an event parser: those (yajl, ijson) give
up all the rest of a file at the first NaN or raw control character, which published arrays have.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from medpipe.ingest.batches import RAW_CHARACTERS, Record, broken
from medpipe.ingest.encoding import MARK, decode_marking, describe_illegal
from medpipe.ingest.errors import IngestError
from medpipe.ingest.json_values import LENIENT, may_have_surrogates, without_lone_surrogates

CHUNK_BYTES = 1 << 20
MAX_ELEMENT_CHARACTERS = 128_000_000
"""An element that does not end within so many characters counts as broken."""

_SPACE = re.compile(r"[\s\ufeff]*")
_NEAR_END = 1_024
"""A complaint so close to the end of the window may be about an element that is only cut there."""

_NUMBER_TAIL = 2
"""Characters such as `e+` that the decoder leaves behind a number if its digits are cut off."""


class _CutElementError(ValueError):
    """The element cannot be parsed; the rest of the array has no known boundaries any more."""


class _Window:
    """The part of a file's text that is not parsed yet, refilled from the file."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self.encoding = encoding
        self._undecoded = b""
        self._bytes_read = 0
        self._ended = False
        self._dropped = 0
        self.text = ""
        self.position = 0
        self.illegal: deque[tuple[int, int]] = deque()
        """(byte, offset) of each `MARK` that is still ahead, in order."""

    @property
    def place(self) -> int:
        """Characters of the file before the position."""
        return self._dropped + self.position

    def refill(self) -> bool:
        """Reads more text, twice as much each time for a long element; False at the end of the file."""
        if self._ended:
            return False
        ahead = self.text[self.position :]
        data = self._file.read(max(CHUNK_BYTES, len(ahead)))
        self._ended = not data
        start = self._bytes_read - len(self._undecoded)
        self._bytes_read += len(data)
        text, illegal, self._undecoded = decode_marking(
            self._undecoded + data, self.encoding, offset=start, final=self._ended
        )
        self._dropped += self.position
        self.text, self.position = ahead + text, 0
        self.illegal.extend(illegal)
        return True

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            match = _SPACE.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.text) or not self.refill():
                return self.text[self.position : self.position + 1]

    def element(self) -> tuple[Any, int, int]:
        """Parses the element at the position and moves behind it.

        Returns:
            The value, and where it starts and ends in `text`.
        """
        while True:
            try:
                value, end = LENIENT.raw_decode(self.text, self.position)
            except RecursionError:
                raise _CutElementError("nested too deeply") from None
            except ValueError as error:
                if not self._may_be_cut(error) or not self._can_grow() or not self.refill():
                    raise _CutElementError(getattr(error, "msg", str(error))) from None
                continue
            # A number at the very end of the window may go on: `12` of `1234`, and of `12e+3`.
            if len(self.text) - end > _NUMBER_TAIL or not self.refill():
                start, self.position = self.position, end
                return value, start, end

    def _may_be_cut(self, error: ValueError) -> bool:
        message, place = getattr(error, "msg", ""), getattr(error, "pos", 0)
        return message.startswith("Unterminated string") or place >= len(self.text) - _NEAR_END

    def _can_grow(self) -> bool:
        return len(self.text) - self.position < MAX_ELEMENT_CHARACTERS


def read_json_array(path: Path, *, encoding: str) -> Iterator[Record]:
    """Yields one record an element; where the array breaks, the rest is one fault `truncated_array`.

    Raises:
        IngestError: the file does not start with `[`.
    """
    with path.open("rb") as file:
        window = _Window(file, encoding)
        first = window.peek()
        if first == "":
            return
        if first != "[":
            raise IngestError(
                f"{path} is declared a JSON array but starts with {first!r}; set 'format: jsonl' or 'auto' "
                "for it in the catalog"
            )
        window.position += 1
        yield from _elements(window)


def _elements(window: _Window) -> Iterator[Record]:
    count = 0
    while True:
        next_character = window.peek()
        if next_character == "]":
            window.position += 1
            if window.peek():
                yield _cut(window, count, "there is more after the end of the array")
            return
        if next_character == "":
            yield _cut(window, count, "the file ends inside the array")
            return
        try:
            value, start, end = window.element()
        except _CutElementError as error:
            yield _cut(window, count, str(error))
            return
        yield _checked(window, value, start, end)
        count += 1
        next_character = window.peek()
        if next_character == ",":
            window.position += 1
        elif next_character != "]":
            yield _cut(
                window, count, "expected ',' or ']'" if next_character else "the file ends inside the array"
            )
            return


def _checked(window: _Window, value: Any, start: int, end: int) -> Record:
    if window.illegal and (marks := window.text.count(MARK, start, end)):
        byte, offset = window.illegal[0]
        for _ in range(min(marks, len(window.illegal))):
            window.illegal.popleft()
        raw = window.text[start:end].replace(MARK, "\ufffd")
        return broken("encoding", describe_illegal(byte, offset, window.encoding), raw)
    if may_have_surrogates(window.text, start, end):
        value = without_lone_surrogates(value)
    return Record(value, end - start)


def _cut(window: _Window, count: int, complaint: str) -> Record:
    raw = window.text[window.position : window.position + RAW_CHARACTERS].replace(MARK, "\ufffd")
    return broken("truncated_array", f"{complaint}, after {count} elements, at character {window.place}", raw)
