"""How the time of a step divides over its parts."""

from __future__ import annotations

import time
from collections import defaultdict

import torch


class Laps:
    """Adds up seconds by part of a step.

    A CUDA device works behind the host's back: it is waited for at the end of each lap, so that its work
    counts where it was asked for. That costs some microseconds a lap.
    """

    def __init__(self, device: torch.device) -> None:
        """Starts the clock."""
        self._device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def start(self) -> None:
        """Starts the clock anew: what happened since the last lap is counted nowhere."""
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Counts the time since the last lap, or the start, to a part."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """The seconds by part so far; counts from zero again."""
        taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken
