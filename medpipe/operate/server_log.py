"""One log of all servers, on the terminal and in a file of bounded size; each line names its server."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from collections.abc import Iterable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from medpipe.operate.redaction import Redaction

MOST_BYTES = 10_000_000
KEPT_FILES = 3
"""Older files beside the newest one."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WIDTH = 9


class ServerLog:
    """Takes the output of several processes, a line at a time."""

    def __init__(
        self,
        path: Path,
        *,
        redaction: Redaction,
        most_bytes: int = MOST_BYTES,
        terminal: IO[str] | None = None,
    ) -> None:
        """Opens the file, and goes on behind what is in it.

        Args:
            path: the file; older ones beside it are `<name>.1` and so on.
            redaction: what must not stand in a log.
            most_bytes: of one file.
            terminal: where lines are shown; standard output if None.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._redaction = redaction
        self._terminal = terminal or sys.stdout
        self._handler = RotatingFileHandler(
            path, maxBytes=most_bytes, backupCount=KEPT_FILES, encoding="utf-8", errors="replace"
        )
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(name)-9s | %(message)s"))
        self._threads: list[threading.Thread] = []

    def say(self, name: str, text: str) -> None:
        """Writes one line of a server."""
        text = self._redaction.of(text)
        record = logging.LogRecord(name, logging.INFO, "", 0, _COLOUR.sub("", text), None, None)
        self._handler.handle(record)
        # A terminal that was closed must not end the servers.
        with contextlib.suppress(OSError, ValueError):
            shown = text if self._terminal.isatty() else _COLOUR.sub("", text)
            print(f"{name:{_WIDTH}} | {shown}", file=self._terminal, flush=True)

    def follow(self, name: str, output: IO[bytes]) -> None:
        """Writes whatever a process says until its output ends."""
        thread = threading.Thread(target=self._copy, args=(name, output), name=f"log-{name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _copy(self, name: str, lines: Iterable[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in lines:
                self.say(name, line.decode(errors="replace").rstrip())

    def close(self) -> None:
        """Waits briefly for the last lines, then closes the file."""
        for thread in self._threads:
            thread.join(2)
        self._handler.close()
