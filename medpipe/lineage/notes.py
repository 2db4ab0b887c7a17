"""What was found out before a withdrawal changed anything: for a later try, and for people.

A withdrawal finds records, rows and data sets by what its own purge deletes. A try that was killed therefore
leaves these notes to the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.lineage.exposure import Exposure
from medpipe.lineage.rows import Row

if TYPE_CHECKING:
    from medpipe.lineage.planning import Plan

NOTES = "withdrawals"
"""Folder of the lake that the notes lie in."""


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What earlier tries found out; of paths only those that are still there."""

    old_snapshot: str | None
    """Of a try of the very same withdrawal that was not finished."""
    runs: tuple[Exposure, ...]
    """Of a try of the very same withdrawal."""
    shards: dict[str, dict[str, str]]
    stranded: tuple[str, ...]
    rows: frozenset[Row]
    placed: frozenset[str]
    """Ids of which the rows are known."""
    datasets: tuple[Path, ...]
    snapshots: tuple[Path, ...]
    raw_folders: tuple[Path, ...]


def write_notes(lake: Lake, plan: Plan, *, finished: bool = False) -> None:
    """Keeps what a plan found out."""
    holders = plan.holders

    def names(paths: Iterable[Path]) -> list[str]:
        return sorted(path.relative_to(lake.root).as_posix() for path in paths)

    notes = {
        "withdrawn": sorted(plan.chosen.all),
        "sources": sorted(plan.sources),
        "old_snapshot": plan.old_snapshot,
        "runs": [asdict(run) for run in plan.runs],
        "stranded": list(plan.stranded),
        "shards": plan.shards_before,
        "rows": sorted(plan.rows),
        "without_row": sorted(record_id for record_id, _ in plan.without_row),
        "datasets": names(holders.datasets) if holders else [],
        "snapshots": names(holders.snapshots) if holders else [],
        "raw_folders": names(holders.raw_folders) if holders else [],
        "finished": finished,
    }
    write_json_atomically(lake.root / NOTES / f"{plan.key}.json", notes)


def read_notes(lake: Lake, plan: Plan) -> Noted:
    """What earlier tries kept of this withdrawal, or of others that withdrew a part of it and no more."""
    mine: dict[str, Any] = {}
    kept = []
    for path in sorted((lake.root / NOTES).glob("*.json")):
        try:
            content = orjson.loads(path.read_bytes())
            withdrawn = {tuple(each) for each in content["withdrawn"]}
        except (orjson.JSONDecodeError, KeyError):  # nothing that a killed try leaves: it is written at once
            continue
        if withdrawn <= plan.chosen.all and set(content["sources"]) <= set(plan.sources):
            kept.append(content)
            if path.stem == plan.key:
                mine = content
    there: dict[str, list[Path]] = {}
    for name in ("datasets", "snapshots", "raw_folders"):
        paths = {lake.root / each for content in kept for each in content[name]}
        there[name] = sorted(path for path in paths if path.exists())
    return Noted(
        old_snapshot=None if mine.get("finished", True) else mine["old_snapshot"],
        runs=tuple(_exposure(run) for run in mine.get("runs", ())),
        shards=mine.get("shards", {}),
        stranded=tuple(dict.fromkeys(name for content in kept for name in content["stranded"])),
        rows=frozenset(tuple(row) for content in kept for row in content["rows"]),
        placed=frozenset(
            each[0]
            for content in kept
            for each in content["withdrawn"]
            if each[0] not in content["without_row"]
        ),
        datasets=tuple(there["datasets"]),
        snapshots=tuple(there["snapshots"]),
        raw_folders=tuple(there["raw_folders"]),
    )


def _exposure(run: dict[str, Any]) -> Exposure:
    tupled: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in run.items()
    }
    return Exposure(**tupled)
