"""Dagster's own local launcher, with the health check it lacks.

Without one a run whose worker died with the whole machine stays STARTED for ever: nobody is left to report
its end. With it the daemon's run monitoring marks the run as failed, and jobs that ask for it are retried.

A worker is known by its process id and by when it started, counted from the machine's boot, which no step of
the clock changes: the launcher notes when it asked for the worker, and the first check notes the worker that
it found. Neither changes when a code location is reloaded; asking the code server instead would fail
healthy runs then, since the new server knows nothing of the old one's. The daemon must see the worker's
process. On PostgreSQL a run may be executed elsewhere (`medpipe run` on another machine): each run notes its
machine, and of another machine's nothing is said.

A run that the code server refuses to start, since it has nothing loaded or is being replaced, waits in the
queue (`max_user_code_failure_retries` of the instance). Dagster's launcher fails it: the queue waits only if
the daemon has learned before that the location does not load.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun
from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

from medpipe.lake.process import (
    ProcessIdentity,
    boot_id,
    this_process,
    ticks_per_second,
    ticks_since_boot,
)

if TYPE_CHECKING:
    from dagster import EventLogEntry
    from dagster._core.launcher import LaunchRunContext

PROCESS_TAG = "medpipe/process"
"""Process id of a run that `medpipe run` executes itself, without a launcher."""
MACHINE_TAG = "medpipe/machine"
"""Host name of the machine that executes a run. Containers that share process ids share it, too."""

WORKER_TAG = "medpipe/worker"
"""The process that executes a run, as `ProcessIdentity` writes it; until it has been looked for, when it was
asked for: `asked <ticks since the boot> <boot>`."""
START_SECONDS = 120
"""A worker starts within that time or not at all: `start_timeout_seconds` of the instance."""

_NOTHING_LOADED = ("CheckError", "check.not_none(self._loaded_repositories)")
"""Name of the exception in the code server, and what it comes of."""
_SHUTTING_DOWN = "after telling it to shut down"
_ASKED = "asked"
_STARTED = "Started process for run"
_FIRST_EVENTS = 50
_CLOCK_SLACK_S = 2.0
"""The kernel counts a process' age in ticks since a boot time that it gives in whole seconds."""


def process_tags() -> dict[str, str]:
    """Tags of a run that this process executes itself."""
    return {
        PROCESS_TAG: str(os.getpid()),
        WORKER_TAG: str(this_process()),
        MACHINE_TAG: socket.gethostname(),
    }


def is_same_process(pid: int, seen_at: float) -> bool:
    """Whether the process that had this id at a time is still at work, as far as the clock was not set.

    For runs that nobody noted the start of their worker of: launched by an older medpipe.

    Args:
        pid: process id.
        seen_at: unix time in seconds at which the process was running.
    """
    try:
        process = psutil.Process(pid)
        started, state = process.create_time(), process.status()
    except psutil.NoSuchProcess:
        return False
    return bool(state != psutil.STATUS_ZOMBIE and started <= seen_at + _CLOCK_SLACK_S)


def is_code_server_unready(error: DagsterLaunchFailedError) -> bool:
    """Whether a code server has started nothing, as its code does not load or it is about to end."""
    cause = error.serializable_error_info
    if cause is None:
        return _SHUTTING_DOWN in str(error)
    exception, origin = _NOTHING_LOADED
    return cause.cls_name == exception and any(origin in frame for frame in cause.stack)


class LocalRunLauncher(DefaultRunLauncher):
    """Starts a run in a process of the code server, and can say whether that process is still there."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Notes the machine and the time, and starts the run.

        A re-execution inherits the tags of a run that may have been executed elsewhere.

        Raises:
            DagsterUserCodeUnreachableError: nothing was started, and it can be tried again.
            DagsterLaunchFailedError: the run can not be started.
        """
        asked = f"{_ASKED} {ticks_since_boot()} {boot_id()}"
        tags = {MACHINE_TAG: socket.gethostname(), WORKER_TAG: asked}
        self._instance.add_run_tags(context.dagster_run.run_id, tags)
        try:
            super().launch_run(context)
        except DagsterLaunchFailedError as error:
            if not is_code_server_unready(error):
                raise
            message = "the code server has no code loaded; the page Deployment says what does not load"
            raise DagsterUserCodeUnreachableError(message) from error

    def is_of_this_machine(self, run: DagsterRun) -> bool:
        """Whether a run's process is here, as far as anybody noted."""
        return run.tags.get(MACHINE_TAG, socket.gethostname()) == socket.gethostname()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Makes run monitoring ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Looks for the run's process; one of another machine, or that nobody noted, counts as running."""
        if not self.is_of_this_machine(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"its process is on {run.tags[MACHINE_TAG]}")
        worker = worker_of(self._instance, run)
        if worker is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its process is not known")
        pid, seen_at = worker
        noted = run.tags.get(WORKER_TAG, "")
        if _is_worker(noted, pid, seen_at):
            if noted.startswith(_ASKED):
                self._instance.add_run_tags(run.run_id, {WORKER_TAG: str(ProcessIdentity.of(pid))})
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            f"process {pid}, which executed the run, has ended without saying so",
            run_worker_id=str(pid),
        )


def _is_worker(noted: str, pid: int, seen_at: float) -> bool:
    """Whether the process that has an id now is a run's worker.

    Args:
        noted: the run's `WORKER_TAG`.
        pid: of the worker.
        seen_at: unix time in seconds at which it was running.
    """
    known = ProcessIdentity.parse(noted)
    if known is not None and known.pid == pid:
        return known.is_running
    word, _, rest = noted.partition(" ")
    ticks, _, boot = rest.partition(" ")
    if word != _ASKED or not ticks.isdigit():
        return is_same_process(pid, seen_at)
    found = ProcessIdentity.of(pid)
    if found is None or found.boot != boot:
        return False
    # A process that got the id of a dead worker would have to start within this time, too.
    return int(ticks) <= found.started <= int(ticks) + START_SECONDS * ticks_per_second()


def worker_of(instance: DagsterInstance, run: DagsterRun) -> tuple[int, float] | None:
    """Process id of a run's worker and a time at which it was running."""
    for entry in instance.event_log_storage.get_logs_for_run(
        run.run_id, of_type={DagsterEventType.ENGINE_EVENT}, limit=_FIRST_EVENTS
    ):
        pid = _started_process(entry)
        if pid is not None:
            return pid, entry.timestamp
    # Asked last: a re-execution in the UI inherits the tags of a run that had no launcher.
    if PROCESS_TAG in run.tags:
        record = instance.get_run_record_by_id(run.run_id)
        return None if record is None else (int(run.tags[PROCESS_TAG]), record.create_timestamp.timestamp())
    return None


def _started_process(entry: EventLogEntry) -> int | None:
    event = entry.dagster_event
    if event is None or not (event.message or "").startswith(_STARTED):
        return None
    return int(str(event.engine_event_data.metadata["pid"].value))
