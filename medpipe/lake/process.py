"""Which process is meant: its id alone is given to another one later, and wall-clock times jump.

A process is known by its id, by when it started in clock ticks since the boot, and by the boot. Setting the
clock changes none of them. Where there is no `/proc` the time of its start stands in for both.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
_STATE, _STARTTIME = 0, 19
"""Fields of `/proc/<pid>/stat` behind the command's name; see proc(5)."""
_DEAD = "ZXx"
_NO_BOOT = "-"


def boot_id() -> str:
    """Names this boot of the machine; `-` where the system has no such name."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return _NO_BOOT


def ticks_since_boot() -> int:
    """Now, in the unit of a process' start."""
    if boot_id() == _NO_BOOT:
        return int(time.time())
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * ticks_per_second())


def ticks_per_second() -> int:
    """Unit of a process' start."""
    return 1 if boot_id() == _NO_BOOT else os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one boot of this machine; `str` and `parse` turn it into text and back."""

    pid: int
    started: int
    """Ticks since the boot; unix time in seconds where there is no `/proc`."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has an id now; None if there is none, or it has ended and waits to be reaped."""
        boot = boot_id()
        started = _started(pid) if boot == _NO_BOOT else _ticks(pid)
        return None if started is None else cls(pid, started, boot)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `str` wrote; None of anything else."""
        parts = text.split()
        if len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2])

    def __str__(self) -> str:
        """Three words: process id, start, boot."""
        return f"{self.pid} {self.started} {self.boot}"

    @property
    def is_running(self) -> bool:
        """Whether this very process is still at work."""
        return ProcessIdentity.of(self.pid) == self


def this_process() -> ProcessIdentity:
    """The process that asks."""
    found = ProcessIdentity.of(os.getpid())
    if found is None:
        raise ProcessLookupError("the system does not say when this process started")
    return found


def _ticks(pid: int) -> int | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[_STATE] in _DEAD else int(fields[_STARTTIME])


def _started(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time())
    except psutil.NoSuchProcess:
        return None
