"""Counts tokens a second between two steps, for every side alike; only the standard library."""

from __future__ import annotations

import itertools
import time
from typing import Any


class StepClock:
    """Notes when each step begins."""

    def __init__(self, *, warm_steps: int, steps: int, tokens_per_step: int) -> None:
        self._warm, self._steps, self._tokens = warm_steps, steps, tokens_per_step
        self._begins: list[float] = []

    def begin(self) -> None:
        """A step begins."""
        self._begins.append(time.perf_counter())

    @property
    def window(self) -> tuple[float, float]:
        """When the clock started and when it stopped: before a step each."""
        return self._begins[self._warm], self._begins[self._warm + self._steps]

    def found(self) -> dict[str, Any]:
        """Tokens a second, and seconds of each counted step."""
        start, stop = self.window
        begins = self._begins[self._warm : self._warm + self._steps + 1]
        seconds = [round(b - a, 5) for a, b in itertools.pairwise(begins)]
        return {
            "tokens_per_second": self._steps * self._tokens / (stop - start),
            "counted_seconds": stop - start,
            "step_seconds": seconds,
        }
