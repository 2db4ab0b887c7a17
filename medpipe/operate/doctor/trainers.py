"""Trainers that outlived whoever started them: they hold a run folder, a device and a place in memory."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil

from medpipe.lake.process import ProcessIdentity
from medpipe.operate.doctor.finding import Finding
from medpipe.operate.keeper import SAVE_SECONDS, TRAINER
from medpipe.pretrain.guard import LAUNCHER_VARIABLE


def orphan_trainers(lake: Path) -> Iterator[Finding]:
    """Trainers of a lake on this machine whose launcher has ended.

    Each trainer's environment names its launcher by process id and start; one that names none is left alone,
    and one of a container, whose process ids are others than ours.

    Args:
        lake: its root folder.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            launcher = _launcher(process, lake)
            identity = ProcessIdentity.of(process.pid)
            if launcher is None or launcher.is_running or identity is None:
                continue
            if not _has_our_ids(process.pid):
                continue
            yield Finding(
                kind="trainer",
                thing=f"process {process.pid}: {_stage(process)}",
                problem=f"process {launcher.pid}, which started it, has ended",
                fix="send it SIGTERM: it saves its last step and ends; running the stage again goes on there",
                repair=partial(_end, identity),
            )


def _has_our_ids(pid: int) -> bool:
    """Whether a process counts process ids as this one does; not in a container that is seen from outside."""
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink() == Path("/proc/self/ns/pid").readlink()
    except FileNotFoundError:  # a system without namespaces
        return True
    except OSError:
        return False


def _launcher(process: psutil.Process, lake: Path) -> ProcessIdentity | None:
    """Who started a process, if that is a trainer of the lake."""
    command = process.cmdline()
    if TRAINER not in command or "--lake" not in command:
        return None
    named = Path(command[command.index("--lake") + 1])
    if named.resolve() != lake.resolve():
        return None
    return ProcessIdentity.parse(process.environ().get(LAUNCHER_VARIABLE, ""))


def _stage(process: psutil.Process) -> str:
    command = process.cmdline()
    return f"stage {command[command.index('--stage') + 1]}" if "--stage" in command else "a trainer"


def _end(identity: ProcessIdentity) -> str | None:
    if not identity.is_running:
        return None
    # It may end by itself in this moment.
    with contextlib.suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
        process = psutil.Process(identity.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(SAVE_SECONDS)
    if identity.is_running:
        return f"it still works {SAVE_SECONDS:.0f} s after SIGTERM; look again later, or end it with SIGKILL"
    return None
