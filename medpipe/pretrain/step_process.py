"""The step's own process around a trainer: before it starts, and what its end says."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from medpipe.pretrain.guard import end_with_the_run, wait_for_lock

TAKE_OVER_SECONDS = 120.0
"""So long a retry waits for the trainer of the run before it to be gone."""

_EXIT_CODE = re.compile(r"code (-?\d+)")


def take_over(folder: Path, *, is_retry: bool, seconds: float = TAKE_OVER_SECONDS) -> str | None:
    """Makes this process fit to start a trainer.

    It ends with its run, and an interrupt ends its waiting; a retry lets the trainer before it leave first.

    Args:
        folder: the run folder of the stage.
        is_retry: whether a run that crashed had started a trainer there.
        seconds: to wait for that one, at most.

    Returns:
        What a person should know: that the old trainer is still there. None if all is well.
    """
    end_with_the_run()
    # Polars' SIGINT handler restarts system calls; a cancelled run would wait for the trainer's end.
    signal.siginterrupt(signal.SIGINT, True)
    if is_retry and not wait_for_lock(folder, seconds=seconds):
        return "the trainer of the run before is still there; it may have to be stopped by hand"
    return None


def exit_code_in(message: str) -> int | None:
    """The exit code that the launcher's message of a failed trainer names, negative for a signal's number."""
    found = _EXIT_CODE.search(message)
    return int(found[1]) if found else None
