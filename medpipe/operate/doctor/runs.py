"""Runs that nobody executes any more, pool slots that nobody uses, and a daemon that does not answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.launcher import WorkerStatus
from dagster._daemon.controller import get_daemon_statuses

from medpipe.lake.process import boot_id, ticks_per_second, ticks_since_boot
from medpipe.operate.doctor.finding import Finding
from medpipe.operate.run_launcher import START_SECONDS, WORKER_TAG, LocalRunLauncher, worker_of

_EXECUTING = (DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING)
_FINISHED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_FORGOTTEN_S = 3600.0
"""A run is queued within moments of being made; what executes itself is started at once."""
_SILENT_SECONDS = 90.0
"""Beside the 30 between two heartbeats; Dagster itself waits for half an hour."""


def stuck_runs(instance: DagsterInstance) -> Iterator[Finding]:
    """Runs that are said to be executed although their process has ended, or never began."""
    for run in instance.get_runs(RunsFilter(statuses=list(_EXECUTING))):
        reason = why_stuck(instance, run)
        if reason is not None:
            yield _stuck(instance, run, reason)
    for record in instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.NOT_STARTED])):
        if time.time() - record.create_timestamp.timestamp() > _FORGOTTEN_S:
            yield _stuck(instance, record.dagster_run, "it was made and never queued")


def why_stuck(instance: DagsterInstance, run: DagsterRun) -> str | None:
    """Why a run cannot go on; None where its process lives, or may be on another machine."""
    launcher = instance.run_launcher
    if not isinstance(launcher, LocalRunLauncher) or not launcher.is_of_this_machine(run):
        return None
    health = launcher.check_run_worker_health(run)
    if health.status is WorkerStatus.FAILED:
        return health.msg
    if run.status is DagsterRunStatus.STARTING and worker_of(instance, run) is None:
        return _never_began(run.tags.get(WORKER_TAG, ""))
    return None


def _never_began(noted: str) -> str | None:
    word, _, rest = noted.partition(" ")
    ticks, _, boot = rest.partition(" ")
    if word != "asked" or not ticks.isdigit():
        return None
    if boot != boot_id():
        return "the machine was started again before its process began"
    waited = (ticks_since_boot() - int(ticks)) / ticks_per_second()
    return f"no process began within {waited:.0f} s" if waited > START_SECONDS else None


def _stuck(instance: DagsterInstance, run: DagsterRun, reason: str) -> Finding:
    return Finding(
        kind="run",
        thing=f"{run.job_name} {run.run_id}",
        problem=f"{run.status.value}, but {reason}",
        fix="mark it as failed; the daemon retries it where its job asks for that",
        repair=partial(_fail, instance, run.run_id, reason),
    )


def _fail(instance: DagsterInstance, run_id: str, reason: str) -> str | None:
    run = instance.get_run_by_id(run_id)
    if run is None or run.status in _FINISHED:
        return None
    if run.status in _EXECUTING and why_stuck(instance, run) is None:
        return "its process lives after all"
    instance.report_run_failed(run, f"medpipe doctor: {reason}")
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return None


def leaked_slots(instance: DagsterInstance) -> Iterator[Finding]:
    """Places in pools that runs hold which have ended: whoever waits for the pool waits for ever."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    held: dict[str, set[str]] = {}
    for pool in sorted(storage.get_concurrency_keys()):
        info = storage.get_concurrency_info(pool)
        for run_id in {*info.active_run_ids, *info.pending_run_ids, *info.assigned_run_ids}:
            held.setdefault(run_id, set()).add(pool)
    for run_id, pools in sorted(held.items()):
        if _has_ended(instance, run_id):
            yield Finding(
                kind="pool slot",
                thing=f"{', '.join(sorted(pools))} held by run {run_id}",
                problem="the run has ended, and its place in the pool was not given back",
                fix="free it",
                repair=partial(_free, instance, run_id),
            )


def _has_ended(instance: DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.status in _FINISHED


def _free(instance: DagsterInstance, run_id: str) -> str | None:
    if not _has_ended(instance, run_id):
        return "the run goes on"
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return None


def missing_daemon(instance: DagsterInstance) -> Iterator[Finding]:
    """A daemon whose heartbeats have stopped, where something waits for it."""
    waiting = instance.get_runs_count(RunsFilter(statuses=[DagsterRunStatus.QUEUED]))
    switched_on = [state for state in instance.all_instigator_state() if state.is_running]
    if not waiting and not switched_on:
        return
    statuses = get_daemon_statuses(
        instance, instance.get_required_daemon_types(), heartbeat_tolerance_seconds=_SILENT_SECONDS
    )
    what = [f"{waiting} queued runs"] if waiting else []
    what += [f"{len(switched_on)} schedules and sensors"] if switched_on else []
    silent = sorted(kind for kind, status in statuses.items() if not status.healthy)
    if silent:
        yield Finding(
            kind="daemon",
            thing=", ".join(silent).lower(),
            problem=f"no heartbeat, and {' and '.join(what)} wait for it",
            fix="start `medpipe dev` or `medpipe serve`, which run the daemon and start it again if it dies",
        )
    # Dagster's daemon does not beat again before that time has come.
    ahead = time.time() + _SILENT_SECONDS
    beats = {kind: status.last_heartbeat for kind, status in statuses.items() if status.healthy}
    early = sorted(kind for kind, beat in beats.items() if beat is not None and beat.timestamp > ahead)
    if early:
        yield Finding(
            kind="daemon",
            thing=", ".join(early).lower(),
            problem="its heartbeat is of a time ahead, from before the clock was set back; whether it runs "
            f"cannot be told, and {' and '.join(what)} wait for it",
            fix="start `medpipe dev` or `medpipe serve` again",
        )


def has_live_runs(instance: DagsterInstance) -> bool:
    """Whether a run is being executed, or may be: nobody else should then touch what it works on."""
    runs = instance.get_runs(RunsFilter(statuses=list(_EXECUTING)))
    return any(why_stuck(instance, run) is None for run in runs)
