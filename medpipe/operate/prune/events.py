"""Event logs of runs that ended long ago and that no asset's state hangs on."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from medpipe.operate.prune.doomed import Doomed, Limits
from medpipe.operate.prune.plan import with_bytes

_FINISHED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_UNFINISHED = [status for status in DagsterRunStatus if status not in _FINISHED]
_DAY_S = 86400.0


def unfinished_configs(instance: DagsterInstance) -> list[object]:
    """Run configurations of all runs that have not ended."""
    return [run.run_config for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED))]


def old_runs(instance: DagsterInstance, home: Path, limits: Limits) -> list[Doomed]:
    """Runs whose events would go.

    The run that made an asset last stays however old it is: deleted, the asset would count as never made.

    Args:
        instance: the instance.
        home: Dagster's folder.
        limits: how many days stay.
    """
    needed = _makers(instance)
    before = datetime.fromtimestamp(time.time() - limits.event_days * _DAY_S, UTC)
    records = instance.get_run_records(RunsFilter(statuses=_FINISHED, created_before=before))
    found = []
    for record in records:
        run, ended = record.dagster_run, record.end_time or record.create_timestamp.timestamp()
        if run.run_id in needed or ended > before.timestamp():
            continue
        paths = _paths(home, run.run_id)
        found.append(
            Doomed(
                kind="event log",
                name=f"{run.job_name} {run.run_id}",
                why=f"ended {datetime.fromtimestamp(ended, UTC):%Y-%m-%d}; no asset was made last by it",
                paths=tuple(path for path in paths if path.exists()),
                remove=partial(_remove, instance, run.run_id, paths),
            )
        )
    return with_bytes(found)


def _makers(instance: DagsterInstance) -> set[str]:
    """Runs that hold the newest materialisation or observation of an asset."""
    found: set[str] = set()
    for record in instance.get_asset_records(instance.all_asset_keys()):
        entry = record.asset_entry
        for event in (entry.last_materialization_record, entry.last_observation_record):
            if event is not None:
                found.add(event.run_id)
        found |= {each for each in (entry.last_run_id,) if each}
    return found


def _paths(home: Path, run_id: str) -> Iterable[Path]:
    return [home / "history" / "runs" / f"{run_id}.db", home / "logs" / run_id, home / "storage" / run_id]


def _remove(instance: DagsterInstance, run_id: str, paths: Iterable[Path]) -> bool:
    if run_id in _makers(instance):
        return False
    instance.delete_run(run_id)
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return True
