"""Run progress as lines that a person reads: what starts, what it says, how long it took."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import dagster as dg

_SHOWN_EVENTS = (
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
)


def asset_name(step_key: str) -> str:
    """The asset's name for the key of the step that makes it: `raw__x` is `raw/x`."""
    return step_key.replace("__", "/", 1)


def failure_reason(event: dg.DagsterEvent) -> str:
    """Why a step failed, in the words of the innermost error."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "unknown; open the run in the Dagster UI"


class ProgressFormatter(logging.Formatter):
    """Formats Dagster's log records: one line a step's start and end, messages indented between them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record that `shown` let through."""
        meta = getattr(record, "dagster_meta", None) or {}
        event: dg.DagsterEvent | None = meta.get("dagster_event")
        message = meta.get("orig_message") or record.getMessage()
        if event is None:
            mark = "!" if record.levelno >= logging.WARNING else " "
            return f"  {mark}   {message}"
        name = asset_name(event.step_key or "")
        if event.event_type is dg.DagsterEventType.STEP_START:
            return f"  >  {name}"
        if event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            return f"  ok {name}  ({event.step_success_data.duration_ms / 1000:.1f} s)"
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            return f"  x  {name} failed: {failure_reason(event)}"
        return f"  -  {message}"


def shown(record: logging.LogRecord) -> bool:
    """Whether a record is worth a line: a step's start or end, or what an asset itself says."""
    meta = getattr(record, "dagster_meta", None) or {}
    event: dg.DagsterEvent | None = meta.get("dagster_event")
    if event is None:
        return record.levelno >= logging.INFO
    return event.event_type in _SHOWN_EVENTS


_terminal: TextIO | None = None


@contextmanager
def writing_to_this_terminal() -> Iterator[None]:
    """Lets progress go straight to the standard error stream that the process has now.

    While steps run Dagster redirects that stream to a file and mirrors the file by `tail`, which is ended
    with the last step and may not have shown its last lines.
    """
    global _terminal
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace", buffering=1) as _terminal:
        try:
            yield
        finally:
            terminal, _terminal = _terminal, None
            terminal.flush()


@dg.logger
def progress_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    """The console logger of every job of the code location; writes to the standard error stream."""
    handler = logging.StreamHandler(_terminal or sys.stderr)
    handler.setFormatter(ProgressFormatter())
    handler.addFilter(shown)
    logger = logging.Logger("medpipe.progress", level=logging.DEBUG)
    logger.addHandler(handler)
    return logger
