"""How a trainer is asked to stop and how it says what it does; imports no torch."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

Progress = Callable[[str], None]
"""Takes one line of news at a time."""


class Stopped(Exception):
    """A signal asked for an end and the stage is not complete; what is done so far is saved."""


@dataclass
class StopRequest:
    """Set by SIGINT and SIGTERM; the loop looks at it between two steps."""

    signal_name: str | None = None

    def install(self) -> None:
        """Catches the two signals from now on; call it in the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
