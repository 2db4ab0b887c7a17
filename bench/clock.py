"""One run of one side in a process of its own; only the standard library, as peers use it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

MARK = "bench-run "
"""Starts the line that says what a run took; libraries write lines of their own."""

Work = Callable[[], Mapping[str, Any] | None]
"""Does the work, and returns what else should be noted of it."""


def timed(work: Work, *, packages: tuple[str, ...] = (), afterwards: Work | None = None) -> None:
    """Does the work and prints what it took, with what `afterwards` finds out behind the clock.

    Printed are `seconds`, `cpu_seconds` (of this process and those that it started), `base_megabytes` and
    `peak_megabytes` (resident memory of this process before and at most since then),
    `children_peak_megabytes` (of the largest process that it started; 0 if there was none) and `versions` of
    the packages.
    """
    forget_peak()
    base = resident_megabytes("VmRSS")
    cpu_before, started = sum(os.times()[:4]), time.perf_counter()
    found = work()
    seconds = time.perf_counter() - started
    row = {
        "seconds": seconds,
        "cpu_seconds": sum(os.times()[:4]) - cpu_before,
        "base_megabytes": base,
        "peak_megabytes": resident_megabytes("VmHWM"),
        "children_peak_megabytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1_000,
        "versions": {name: metadata.version(name) for name in packages},
        **(found or {}),
        **((afterwards and afterwards()) or {}),
    }
    print(MARK + json.dumps(row), flush=True)


def forget_peak() -> None:
    """Lets `VmHWM` of this process start again at what is resident now, where the kernel can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident_megabytes(name: str) -> float:
    """`VmRSS` or `VmHWM` of this process; getrusage would also count what its parent held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1_000


class Steps:
    """Seconds of the steps of a run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, step: str) -> None:
        """A step is over, and the next one starts."""
        now = time.perf_counter()
        self.seconds[step] = now - self._since
        self._since = now
