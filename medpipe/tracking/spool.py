"""The spool: one JSON line an event, written by the trainer before anybody else hears of it.

It is the truth about a run; MLflow is filled from it and may be down meanwhile. Every line is flushed to
the operating system, so a killed process loses at most the line it was writing; a checkpoint is also
flushed to the disk, so that after a power cut the spool reaches at least as far as the checkpoint that
the trainer resumes from.

JSON has no NaN: a value that is not finite is written as null and read back as NaN, so that a loss that
blew up stays visible as a gap instead of ending the spool.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import orjson

from medpipe.lake.files import naming_a_full_disk, write_bytes_atomically

_TAIL_BYTES = 65_536


class SpoolError(ValueError):
    """A whole line of a spool is no event; the message names file and byte."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the spool."""

    kind: Literal["metrics", "checkpoint"]
    step: int
    """Optimizer steps taken since the curriculum began."""
    tokens: int
    """Tokens seen since the curriculum began."""
    time: float
    """Unix time in seconds."""
    values: dict[str, float] = field(default_factory=dict)
    path: str | None = None
    """A checkpoint's folder, relative to the run folder."""
    name: str | None = None
    """A checkpoint's name."""
    measured_on: str | None = None
    """Digest of the held-out text that a checkpoint's values were measured on."""
    end: int = 0
    """Byte offset behind the line: where reading can go on."""


def _line(record: dict[str, Any], values: Mapping[str, float]) -> bytes:
    finite = {key: float(value) if math.isfinite(value) else None for key, value in values.items()}
    return orjson.dumps({**record, "values": finite}, option=orjson.OPT_APPEND_NEWLINE)


class Spool:
    """Appends events to a spool; one writer at a time (the trainer's rank 0)."""

    def __init__(self, path: Path) -> None:
        """Opens the spool for appending; a half-written last line of a killed writer is cut off."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        _cut_half_line(path)

    def metrics(self, values: Mapping[str, float], *, step: int, tokens: int) -> None:
        """Notes metrics.

        Args:
            values: metric name to value.
            step: optimizer steps since the curriculum began.
            tokens: tokens seen since the curriculum began.

        Raises:
            DiskFullError: the disk is full.
        """
        record = {"event": "metrics", "step": step, "tokens": tokens, "time": time.time()}
        self._append(_line(record, values))

    def checkpoint(
        self,
        path: str,
        *,
        name: str,
        step: int,
        tokens: int,
        values: Mapping[str, float] | None = None,
        measured_on: str | None = None,
    ) -> None:
        """Notes a finished checkpoint and flushes the spool to the disk.

        Args:
            path: the checkpoint's folder, relative to the run folder.
            name: what people call it.
            step: optimizer steps since the curriculum began.
            tokens: tokens seen since the curriculum began.
            values: evaluation at this checkpoint, metric name to value.
            measured_on: digest of the held-out text that they were measured on.

        Raises:
            DiskFullError: the disk is full.
        """
        record: dict[str, Any] = {"event": "checkpoint", "step": step, "tokens": tokens, "time": time.time()}
        record |= {"path": path, "name": name}
        if measured_on is not None:
            record["measured_on"] = measured_on
        self._append(_line(record, values or {}))
        os.fsync(self._file.fileno())

    def _append(self, line: bytes) -> None:
        with naming_a_full_disk(self.path):
            self._file.write(line)
            self._file.flush()

    def truncate_after(self, step: int) -> None:
        """Drops the events of later steps, as a trainer does that resumes from the checkpoint at `step`.

        The spool is replaced atomically: a reader sees the old one or the new one.
        """
        old = self.path.read_bytes()
        kept: list[bytes] = []
        start = 0
        for event in read_events(self.path):
            if event.step <= step:
                kept.append(old[start : event.end])
            start = event.end
        new = b"".join(kept)
        if new == old:
            return
        self._file.close()
        write_bytes_atomically(self.path, new)
        self._file = self.path.open("ab")

    def close(self) -> None:
        """Flushes everything to the disk and closes the file; a second call does nothing.

        Raises:
            DiskFullError: the disk is full; the file is closed.
        """
        if self._file.closed:
            return
        with naming_a_full_disk(self.path):
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What went wrong in the block is the news, not that the rest of it cannot be written either.
        with contextlib.suppress(OSError) if error is not None else contextlib.nullcontext():
            self.close()


def _cut_half_line(path: Path) -> None:
    """Cuts what follows the last newline; without that the next event would be glued to it."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - 65_536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            file.truncate(end)


def read_events(path: Path, *, after: int = 0) -> Iterator[Event]:
    """Reads a spool, also while it is being written.

    Args:
        path: the spool; one that does not exist yet has no events.
        after: byte offset to start at: 0, or the `end` of an event read before.

    Yields:
        Events in the order written. A last line without its newline is left for the next call.

    Raises:
        SpoolError: a whole line is not an event.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        end = file.seek(after)
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield _parse(line, path=path, end=end)


def _parse(line: bytes, *, path: Path, end: int) -> Event:
    try:
        record = orjson.loads(line)
        return Event(
            kind={"metrics": "metrics", "checkpoint": "checkpoint"}[record["event"]],  # type: ignore[arg-type]
            step=int(record["step"]),
            tokens=int(record["tokens"]),
            time=float(record["time"]),
            values={k: math.nan if v is None else float(v) for k, v in record["values"].items()},
            path=record.get("path"),
            name=record.get("name"),
            measured_on=record.get("measured_on"),
            end=end,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        start = end - len(line)
        raise SpoolError(
            f"{path} has a broken line at byte {start} ({error!r}); delete that line to read the rest"
        ) from error


def newest_event(path: Path, *, having: str) -> Event | None:
    """The last event with a value of this name, looked for from the end, also while the spool is written.

    Args:
        path: the spool.
        having: metric name.

    Returns:
        The event; None if there is no file, or no such event in the last 64 KiB of it.

    Raises:
        SpoolError: a whole line is not an event.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL_BYTES)
        file.seek(start)
        lines = file.read(size - start).splitlines(keepends=True)
    if start:
        start += len(lines.pop(0))  # It begins somewhere in the middle.
    ends = list(itertools.accumulate((len(line) for line in lines), initial=start))[1:]
    for line, end in zip(reversed(lines), reversed(ends), strict=True):
        if line.endswith(b"\n") and having in (event := _parse(line, path=path, end=end)).values:
            return event
    return None
