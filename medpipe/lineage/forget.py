"""Withdraws records or a source: tombstone first, then all that is current made again without them.

Each step finds what an earlier try finished, so that the same command finishes one that was killed. From the
moment that the tombstone is written no build takes the records in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medpipe.catalog.source import Source
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import read_tombstones, withdraw
from medpipe.lineage.exposure import Exposure
from medpipe.lineage.holders import SHARDS, find_holders, heads
from medpipe.lineage.planning import Plan, current_snapshot, read_notes, write_notes
from medpipe.lineage.purge import blank_rows, delete, leftovers
from medpipe.lineage.rebuild import Progress, Rebuild, Rebuilt, compared
from medpipe.lineage.stages import NORMALIZED
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
            to do.
        DiskFullError: the disk is full; what was current before is.
    """
    write_notes(lake, plan)
    tombstone = withdraw(lake, plan.chosen.table(), sources=plan.sources, reason=plan.reason)
    old = _read(lake, plan.old_snapshot)
    done = Rebuild(lake, sources, progress).run({*plan.chosen.sources, *plan.sources}, current_snapshot(lake))
    files = compared(lake, old, done.snapshot) or read_notes(lake, plan).get("shards", {})
    notes = [*done.notes, *([plan.tokenizer] if plan.tokenizer else [])]
    write_notes(lake, plan, shards=files)
    deleted, blanked = _purge(lake, plan, sources, progress, notes) if plan.purge else ([], [])
    write_notes(lake, plan, shards=files, finished=True)
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
    """Deletes what held it before, and what a rebuild left behind that holds it."""
    now = find_holders(lake, plan.chosen, plan.sources, read_tombstones(lake))
    before = plan.holders or now
    noted = [lake.root / name for name in read_notes(lake, plan).get("holders", [])]
    current = heads(lake)
    blanked, folders = [], {*before.raw_folders, *now.raw_folders}
    for rows in {(each.source, each.revision, each.path): each for each in (*now.raw, *before.raw)}.values():
        name = f"raw/{rows.source}/{rows.revision}"
        if lake.raw(rows.source) / rows.revision in folders:
            continue
        if blank_rows(lake, rows, sources.get(rows.source)):
            blanked.append(f"{name}/{rows.path}")
        elif (lake.raw(rows.source) / rows.revision).is_dir():
            folders.add(lake.raw(rows.source) / rows.revision)
            notes.append(
                f"{name} is deleted as a whole: single rows can be taken out of JSON Lines alone; the next "
                "run fetches it again, and normalising leaves the row out"
            )
    # Snapshots first: one that names what is gone would be worse than none.
    paths = sorted({*before.snapshots, *now.snapshots})
    deleted = delete(lake, paths, keep=_current_file(lake), progress=progress)
    held = sorted({*before.datasets, *now.datasets, *noted} - set(now.snapshots))
    # What is current was made without it; but where a source has no document left, its old shards still are.
    keep = current - {path for path in now.datasets if _room(lake, path) in (NORMALIZED, SHARDS)}
    deleted += delete(lake, held, keep=keep, progress=progress)
    deleted += delete(lake, [*sorted(folders), *leftovers(lake)], keep=(), progress=progress)
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
