"""News of a long job about once a second."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL_SECONDS = 1.0


class Progress:
    """Counts documents and bytes and tells the rate, and the time left where the total is known."""

    def __init__(
        self,
        tell: Callable[[str], None] | None,
        what: str,
        *,
        total_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._what = what
        self._total = total_bytes
        self._clock = clock
        self._started = self._told = clock()
        self.documents = 0
        self.bytes = 0

    def add(self, documents: int, size: int) -> None:
        """Counts `documents` of together `size` bytes, and tells if a second has gone by."""
        self.documents += documents
        self.bytes += size
        if self._tell is not None and self._clock() - self._told >= INTERVAL_SECONDS:
            self._told = self._clock()
            self._tell(self.line())

    def line(self) -> str:
        """The state in one line."""
        seconds = max(self._clock() - self._started, 1e-9)
        rate = self.bytes / seconds
        left = ""
        if self._total and rate and self._total > self.bytes:
            left = f", about {(self._total - self.bytes) / rate:,.0f} s left"
        return f"{self._what}: {self.documents:,} documents, {rate / 1e6:.1f} MB/s{left}"

    def finish(self) -> None:
        """Tells the last state."""
        if self._tell is not None:
            self._tell(self.line())
