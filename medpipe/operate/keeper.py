"""Leaves no process behind, however a command ends: by itself, by a signal, or by SIGKILL.

The command forks. The parent only waits; the child does the work. Each is a "subreaper": orphans below it
become its children instead of the system's, so that it finds them all. If the child is killed, the parent
ends what is left; if the parent is killed, the kernel sends the child SIGTERM, which ends everything itself.
Linux; elsewhere only the processes that are still below the command are found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection

import psutil

from medpipe.pretrain.guard import die_with_parent

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TRAINER = "medpipe.pretrain.worker"
SAVE_SECONDS = 60.0
"""A trainer that is told to stop saves its last step; a large model's may take its time."""

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_AGAIN_S = 0.1


class Stop:
    """Whether the process was asked to stop; a second signal changes nothing, so no stop is cut short."""

    def __init__(self) -> None:
        """Takes the signals over: also the SIGINT that a shell has a background job ignore.

        But SIGHUP stays ignored where it is: `nohup` is how a person says that a closed terminal is to end
        nothing.
        """
        self.requested = False
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.requested = True


def adopt_orphans() -> None:
    """Makes orphans among the descendants children of this process; does nothing but on Linux."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def keep_watch() -> None:
    """Forks, and returns in the child only; the parent ends with the child's status, after all of it.

    To be called before there are threads: they do not follow a fork.
    """
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        adopt_orphans()
        # The parent may be gone already; then there is nobody to work for.
        with contextlib.suppress(OSError):
            die_with_parent(parent)
        return
    adopt_orphans()
    stop, passed_on = Stop(), False
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if stop.requested and not passed_on:
            passed_on = True
            os.kill(child, signal.SIGTERM)
        time.sleep(_LOOK_AGAIN_S)
    end_descendants()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def end_descendants(*, spare: Collection[int] = (), seconds: float = SAVE_SECONDS) -> int:
    """Ends every process below this one: trainers politely, so that they save; all else at once.

    A run whose worker ends this way is marked as failed by the next daemon, and retried where its job asks
    for that; a worker that is asked politely would say that a person cancelled it.

    Args:
        spare: ids of processes that stay.
        seconds: that trainers get.

    Returns:
        How many there were.
    """
    deadline = time.monotonic() + seconds
    seen: set[int] = set()
    told: set[int] = set()
    while left := [each for each in psutil.Process().children(recursive=True) if each.pid not in spare]:
        is_late = time.monotonic() > deadline
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
                if process.status() == psutil.STATUS_ZOMBIE:
                    if process.ppid() == os.getpid():
                        os.waitpid(process.pid, os.WNOHANG)
                    continue
                seen.add(process.pid)
                if is_late or not _is_trainer(process):
                    process.kill()
                elif process.pid not in told:
                    told.add(process.pid)
                    process.terminate()
        time.sleep(_LOOK_AGAIN_S)
    return len(seen)


def reap_orphans(known: Collection[int]) -> None:
    """Takes note of adopted processes that have ended, so that none stays as a zombie.

    Args:
        known: ids of children that somebody else waits for.
    """
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.pid not in known and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)


def _is_trainer(process: psutil.Process) -> bool:
    return TRAINER in process.cmdline()
