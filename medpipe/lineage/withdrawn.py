"""What tombstones say about a record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import read_withdrawals


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """That something was withdrawn, by which file, when and why."""

    tombstone: str
    created: str
    reason: str
    source: str
    id: str | None
    """None where the source was withdrawn as a whole."""


def withdrawals_of(lake: Lake, ids: Collection[str], sources: Collection[str]) -> tuple[Withdrawn, ...]:
    """The withdrawals that name one of some ids or sources.

    Raises:
        TombstoneError: a tombstone cannot be read.
    """
    found = []
    for path, withdrawal in read_withdrawals(lake):
        said = {
            "tombstone": str(path),
            "created": withdrawal.created.isoformat(timespec="seconds"),
            "reason": withdrawal.reason,
        }
        found += [
            Withdrawn(source=record.source, id=record.id, **said)
            for record in withdrawal.records
            if record.id in ids
        ]
        found += [
            Withdrawn(source=source, id=None, **said) for source in withdrawal.sources if source in sources
        ]
    return tuple(found)
