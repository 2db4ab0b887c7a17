"""Keeps one trainer a run: it dies with its parent, and a lock on the run folder refuses a second one.

`python -m medpipe.pretrain.guard -- COMMAND...` becomes COMMAND, which gets SIGTERM when the process
that started it ends for whatever reason (Linux; elsewhere it is only started).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PARENT_VARIABLE = "MEDPIPE_TRAINER_PARENT"
"""Process id of the launcher, so that one that is gone already is noticed."""
LAUNCHER_VARIABLE = "MEDPIPE_LAUNCHER"
"""Who started the trainer, as `ProcessIdentity` writes it: `medpipe doctor` tells orphans by it."""

_PR_SET_PDEATHSIG = 1
_LOOK_AGAIN_S = 0.5


class RunLockedError(RuntimeError):
    """Another process trains in this run folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        self.holder = holder
        """Its id."""
        super().__init__(
            f"process {holder} is training in {folder}; wait until it ends, or stop it with "
            f"`kill -INT {holder}` (it saves a checkpoint), then run again"
        )


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the run folder for this process; the operating system frees it when the process ends.

    Raises:
        RunLockedError: another process holds it; its id is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise RunLockedError(folder, holder) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def wait_for_lock(folder: Path, *, seconds: float) -> bool:
    """Waits until nobody holds the run folder; returns whether that came in time.

    For whoever takes over from a process that is known to be ending: its trainer saves before it goes.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with run_lock(folder):
                return True
        except RunLockedError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN_S)


def die_with_parent(expected_parent: int | None = None) -> None:
    """Asks the kernel for SIGTERM when the parent process ends; does nothing but on Linux.

    Args:
        expected_parent: id of the launcher; where the parent is another by now, the launcher is gone.

    Raises:
        ProcessLookupError: the launcher ended before the request was made.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_SET_PDEATHSIG): {os.strerror(code)}")
    if expected_parent is not None and os.getppid() != expected_parent:
        raise ProcessLookupError(f"the launching process {expected_parent} has ended")


def end_with_the_run() -> None:
    """Makes a step in a process of its own end with the run worker, and so its trainer with it.

    The parent in the eyes of the kernel is the fork server, which ends when the run worker does.
    """
    worker = multiprocessing.parent_process()
    if worker is None:
        return  # `medpipe run`: the terminal that started it may be closed.
    die_with_parent()
    if not worker.is_alive():
        raise ProcessLookupError("the process of this run has ended")


def main(arguments: list[str] | None = None) -> int:
    """Becomes the command after `--`; returns only on a usage error or when the launcher is gone."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        print("usage: python -m medpipe.pretrain.guard -- COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    parent = os.environ.pop(PARENT_VARIABLE, None)
    try:
        die_with_parent(int(parent) if parent else None)
    except ProcessLookupError as error:
        print(f"guard: {error}; not starting {command[0]}", file=sys.stderr)
        return 1
    try:
        os.execvp(command[0], command)  # noqa: S606 - the launcher's own argument list
    except OSError as error:
        print(f"guard: cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    raise SystemExit(main())
