"""The whole examination: look everywhere, and mend what can be mended if asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from medpipe.lake.layout import Lake, open_lake
from medpipe.operate.doctor import lake as lakes
from medpipe.operate.doctor.finding import Finding
from medpipe.operate.doctor.runs import has_live_runs, leaked_slots, missing_daemon, stuck_runs
from medpipe.operate.doctor.sensors import sensors_ahead
from medpipe.operate.doctor.tracking import unfinished_runs
from medpipe.operate.doctor.trainers import orphan_trainers
from medpipe.operate.instance import open_instance
from medpipe.settings import Settings


def examine(settings: Settings, *, repair: bool = False, read_all: bool = False) -> list[Finding]:
    """Looks for what crashes leave behind.

    What one repair brings to light the next look finds: trainers first, since they hold run folders; then
    runs, since they hold pools; MLflow last, and only while nothing is executed.

    Args:
        settings: which home, lake and MLflow.
        repair: mend what nobody alive works on.
        read_all: compare the checksum of every file of the lake.

    Returns:
        What was found, with what became of it.
    """
    lake = open_lake(settings)
    found: list[Finding] = []
    with open_instance(settings) as instance:
        looks: tuple[Callable[[], Iterable[Finding]], ...] = (
            lambda: orphan_trainers(lake.root),
            lambda: stuck_runs(instance),
            lambda: leaked_slots(instance),
            lambda: missing_daemon(instance),
            lambda: sensors_ahead(instance),
            lambda: _of_lake(lake, read_all=read_all),
            lambda: () if has_live_runs(instance) else unfinished_runs(settings, lake),
        )
        for look in looks:
            # Collected first: a repair changes what is being walked through.
            found += [_repaired(each) if repair else each for each in list(look())]
    return found


def _of_lake(lake: Lake, *, read_all: bool) -> Iterator[Finding]:
    if not lake.root.is_dir():
        return
    if lake.store is not None:
        # A local copy has parts of data sets by design, and the store commits whole ones only.
        yield from lakes.drafts(lake)
        return
    parts: Iterable[Iterator[Finding]] = (
        lakes.drafts(lake),
        lakes.datasets(lake, read_all=read_all),
        lakes.heads(lake),
        lakes.snapshots(lake),
    )
    for part in parts:
        yield from part


def _repaired(finding: Finding) -> Finding:
    if finding.repair is None:
        return finding
    try:
        why_not = finding.repair()
    except (OSError, RuntimeError) as error:
        why_not = str(error)
    if why_not is None:
        return replace(finding, outcome="repaired")
    return replace(finding, outcome="not repaired", note=why_not)
