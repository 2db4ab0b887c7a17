"""The part of a text file that is being read: refilled from the file, so that memory stays bounded."""

from __future__ import annotations

import re
from collections import deque
from typing import BinaryIO

from medpipe.ingest.encoding import MARK, decode_marking, describe_illegal

CHUNK_BYTES = 1 << 20
MAX_RECORD_CHARACTERS = 128_000_000
"""A record that does not end within so many characters counts as broken."""

_SPACES = " \t\r\n\ufeff"
_SPACE = re.compile(f"[{_SPACES}]*+")


class TextWindow:
    """A stretch of a file's text with a position in it; what lies before the position is forgotten."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        """Starts before the first character.

        Args:
            file: at its start.
            encoding: of the file.
        """
        self._file = file
        self._encoding = encoding
        self._undecoded = b""
        self._bytes_read = 0
        self._ended = False
        self._dropped = 0
        self._illegal: deque[tuple[int, int]] = deque()
        """(byte, offset) of each `MARK` that is still ahead, in order."""
        self.text = ""
        self.position = 0

    @property
    def place(self) -> int:
        """Characters of the file before the position."""
        return self._dropped + self.position

    @property
    def can_grow(self) -> bool:
        """Whether the record at the position may be longer than what is here."""
        return len(self.text) - self.position < MAX_RECORD_CHARACTERS

    def refill(self) -> bool:
        """Reads more text, twice as much each time for a long record; False at the end of the file.

        What is before the position is dropped, so places within `text` change.
        """
        if self._ended:
            return False
        ahead = self.text[self.position :]
        data = self._file.read(max(CHUNK_BYTES, len(ahead)))
        self._ended = not data
        start = self._bytes_read - len(self._undecoded)
        self._bytes_read += len(data)
        text, illegal, self._undecoded = decode_marking(
            self._undecoded + data, self._encoding, offset=start, final=self._ended
        )
        self._dropped += self.position
        self.text, self.position = ahead + text, 0
        self._illegal.extend(illegal)
        return True

    def peek(self) -> str:
        """The next character that is no white space, moved to; empty at the end of the file."""
        while True:
            character = self.text[self.position : self.position + 1]
            if character and character not in _SPACES:
                return character
            match = _SPACE.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self.position == len(self.text) and not self.refill():
                return ""

    def take(self, start: int, end: int) -> str | None:
        """Counts the illegal bytes in a stretch as dealt with; every stretch is asked for once, in order.

        Returns:
            What is to be said of the first one; None if there is none.
        """
        if not self._illegal or not (marks := self.text.count(MARK, start, end)):
            return None
        byte, offset = self._illegal[0]
        for _ in range(min(marks, len(self._illegal))):
            self._illegal.popleft()
        return describe_illegal(byte, offset, self._encoding)

    def move(self, end: int) -> None:
        """Moves on without keeping what is passed over."""
        self.take(self.position, end)
        self.position = end
