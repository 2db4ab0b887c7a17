"""Withdraws records or a source: tombstone first, then all that is current made again without them.

Each step finds what an earlier try finished, so that the same command finishes one that was killed. From the
moment that the tombstone is written no build takes the records in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from medpipe.catalog.source import Source
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import read_tombstones, withdraw
from medpipe.lineage.exposure import Exposure
from medpipe.lineage.holders import SHARDS, find_holders, heads
from medpipe.lineage.notes import write_notes
from medpipe.lineage.planning import Plan, current_snapshot, with_holders
from medpipe.lineage.purge import blank_rows, delete, leftovers
from medpipe.lineage.rebuild import Progress, Rebuild, Rebuilt, compared
from medpipe.lineage.stages import NORMALIZED, LineageError
from medpipe.tokens.snapshot import CorpusSnapshot, SnapshotError, read_snapshot


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was done."""

    tombstone: str
    old_snapshot: str | None
    new_snapshot: str | None
    normalized: dict[str, str]
    """New digest of each source that lost records."""
    corpora: dict[str, str]
    shards: dict[str, dict[str, str]]
    """By `domain/source`: each file `linked` or `rewritten`; data sets that did not change are left out."""
    runs: tuple[Exposure, ...]
    deleted: tuple[str, ...]
    blanked: tuple[str, ...]
    """Raw files of which single rows were taken out."""
    stranded: tuple[str, ...]
    notes: tuple[str, ...]


def carry_out(plan: Plan, lake: Lake, sources: Mapping[str, Source], progress: Progress) -> Forgotten:
    """Does what was planned; tried again after it was killed, it finishes what is left.

    Args:
        plan: of `plan_withdrawal`.
        lake: the lake.
        sources: catalog entries by id.
        progress: takes a line of news at a time.

    Raises:
        LineageError: something cannot be made again; the tombstone is in place, and the message says what
            to do. Or bytes in a store are to be deleted: nothing was done then.
        DiskFullError: the disk is full; what was current before is.
    """
    if plan.purge and lake.store is not None:
        raise LineageError(
            f"--purge deletes files of a disk, and the lake is {lake.store}, where data sets share their "
            "files; nothing was done. Withdraw without it: no data set made from then on has the records. "
            "Then, while no run works, delete there the manifest.json of each older data set that held them, "
            "the objects under files/ whose SHA-256 no manifest names any more, and the old versions of "
            f"both; and the same folders below {lake.root}, on every machine"
        )
    write_notes(lake, plan)
    tombstone = withdraw(lake, plan.chosen.table(), sources=plan.sources, reason=plan.reason)
    old = _read(lake, plan.old_snapshot)
    done = Rebuild(lake, sources, progress).run({*plan.chosen.sources, *plan.sources}, current_snapshot(lake))
    files = compared(lake, old, done.snapshot) or plan.shards_before
    notes = [*done.notes, *([plan.tokenizer] if plan.tokenizer else [])]
    plan = replace(plan, shards_before=files)
    write_notes(lake, plan)
    deleted, blanked = _purge(lake, plan, sources, progress, notes) if plan.purge else ([], [])
    write_notes(lake, plan, finished=True)
    return Forgotten(
        tombstone=str(tombstone),
        old_snapshot=plan.old_snapshot,
        new_snapshot=done.snapshot.name if done.snapshot else None,
        normalized={source: dataset.digest for source, dataset in done.normalized.items()},
        corpora={purpose: dataset.digest for purpose, dataset in done.corpora.items()},
        shards=files,
        runs=plan.runs,
        deleted=tuple(str(each) for each in deleted),
        blanked=tuple(blanked),
        stranded=plan.stranded,
        notes=(*notes, *_left(plan, done)),
    )


def _left(plan: Plan, done: Rebuilt) -> list[str]:
    notes = []
    if plan.old_snapshot is None:
        notes.append("there was no snapshot, so no shards were made")
    elif done.snapshot is not None and done.snapshot.name == plan.old_snapshot:
        notes.append("the snapshot is the same: none of its documents was withdrawn")
    if plan.sources and not plan.purge:
        notes.append(
            "a withdrawn source stays enabled with no records; `medpipe sources disable` takes it out"
        )
    return notes


def _purge(
    lake: Lake, plan: Plan, sources: Mapping[str, Source], progress: Progress, notes: list[str]
) -> tuple[list[Path], list[str]]:
    """Deletes what held it before, and what a rebuild left behind that holds it.

    What names something goes before what it names, so that a try that was killed leaves enough to find the
    rest: snapshots, then rows and raw snapshots, then data sets, whose records name those.
    """
    now = find_holders(lake, plan.chosen, plan.sources, read_tombstones(lake), rows=plan.rows)
    plan = with_holders(plan, now)
    write_notes(lake, plan)
    held = plan.holders or now
    deleted = delete(lake, held.snapshots, keep=_current_file(lake), progress=progress)
    blanked, folders = [], set(held.raw_folders)
    for rows in held.raw:
        name, folder = f"raw/{rows.source}/{rows.revision}", lake.raw(rows.source) / rows.revision
        if folder in folders:
            continue
        if blank_rows(lake, rows, sources.get(rows.source)):
            blanked.append(f"{name}/{rows.path}")
            progress(f"rows taken out of {name}/{rows.path}")
        elif folder.is_dir():
            folders.add(folder)
    for folder in sorted(path for path in folders if path.is_dir()):
        notes.append(
            f"{folder.relative_to(lake.root)} is deleted as a whole: single rows can be taken out only of "
            "JSON Lines that was read and is not joined with a second table; the next run fetches it again, "
            "and normalising leaves out what was withdrawn"
        )
    deleted += delete(lake, sorted(folders), keep=(), progress=progress)
    datasets = sorted(set(held.datasets) - set(held.snapshots))
    # What is current was made without it; but where a source has no document left, its old shards still are.
    keep = heads(lake) - {path for path in now.datasets if _room(lake, path) in (NORMALIZED, SHARDS)}
    deleted += delete(lake, datasets, keep=keep, progress=progress)
    deleted += delete(lake, leftovers(lake), keep=(), progress=progress)
    return deleted, blanked


def _room(lake: Lake, path: Path) -> str:
    return path.relative_to(lake.root).parts[0]


def _current_file(lake: Lake) -> set[Path]:
    snapshot = current_snapshot(lake)
    return {lake.snapshots / f"{snapshot.name}.json"} if snapshot else set()


def _read(lake: Lake, name: str | None) -> CorpusSnapshot | None:
    try:
        return None if name is None else read_snapshot(lake, name)
    except SnapshotError:  # purged by an earlier try
        return None
