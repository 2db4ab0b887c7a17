"""Tombstones: what was withdrawn, so that no refresh brings it back.

A withdrawal is one JSON file under `tombstones/` of the lake. Nothing of medpipe deletes or changes such a
file; a person who wants a withdrawal undone deletes it. A file that cannot be read stops the work, since
what it withdrew would come back otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import orjson
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpipe.lake.digest import digest_value
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake, safe_name
from medpipe.lake.object_store import StoreError
from medpipe.lake.shared_files import refresh, share

FOLDER = "tombstones"
WITHDRAWN = "withdrawn"
"""The reason of a rejected row whose record was withdrawn."""

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class TombstoneError(ValueError):
    """A withdrawal cannot be read or written; the message names the file and the fix."""


class WithdrawnRecord(BaseModel):
    """A record that was withdrawn, and every copy of it with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    id: _Hash
    content_key: _Hash


class Withdrawal(BaseModel):
    """The content of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    records: tuple[WithdrawnRecord, ...]
    """In order of source and id."""
    sources: tuple[str, ...]
    """Sources that were withdrawn as a whole, in order."""
    reason: str
    created: datetime

    def digest(self) -> str:
        """Digest of what was withdrawn and why, whenever it was."""
        return digest_value(self.model_dump(mode="json", exclude={"created"}))


@dataclass(frozen=True)
class Tombstones:
    """All that was withdrawn."""

    ids: frozenset[str] = frozenset()
    content_keys: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    """Sources withdrawn as a whole."""
    ids_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Ids of withdrawn records by the source that published them."""

    def __bool__(self) -> bool:
        return bool(self.ids or self.content_keys or self.sources)

    def digest(self) -> str:
        """Digest of all that was withdrawn; reasons and dates do not count."""
        return digest_value([sorted(self.ids), sorted(self.content_keys), sorted(self.sources)])

    def of_source(self, source: str) -> str:
        """Digest of what was withdrawn from a source; empty where nothing was."""
        if source in self.sources:
            return digest_value("the whole source")
        ids = self.ids_of.get(source, frozenset())
        return digest_value(sorted(ids)) if ids else ""

    def is_withdrawn(self) -> pl.Expr:
        """Whether a row (columns `id`, `content_key`, `source`) was withdrawn; Boolean, never null."""
        named = [
            pl.col(column).cast(pl.String).is_in(sorted(values)).fill_null(False)
            for column, values in (
                ("id", self.ids),
                ("content_key", self.content_keys),
                ("source", self.sources),
            )
            if values
        ]
        # A literal would have one row, whatever the frame has.
        return pl.any_horizontal(named) if named else pl.repeat(False, pl.len(), dtype=pl.Boolean)


def read_withdrawals(lake: Lake) -> list[tuple[Path, Withdrawal]]:
    """Every withdrawal with its file, oldest first.

    Raises:
        TombstoneError: a file is broken, or was changed after it was written.
    """
    refresh(lake, FOLDER)
    folder = lake.room(FOLDER)
    if not folder.exists():
        return []
    # Unlike a glob, this fails where the folder may not be read.
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
    return [(path, _read(path)) for path in paths]


def _read(path: Path) -> Withdrawal:
    fix = (
        "restore the file, since what it withdrew must not come back; "
        "delete it only if that withdrawal is to be undone"
    )
    try:
        withdrawal = Withdrawal.model_validate(orjson.loads(path.read_bytes()))
    except (OSError, orjson.JSONDecodeError, ValidationError) as error:
        raise TombstoneError(f"the tombstone {path} cannot be read ({error}); {fix}") from error
    if not path.stem.endswith(f"-{withdrawal.digest()}"):
        raise TombstoneError(f"the tombstone {path} is not what was written under that name; {fix}")
    return withdrawal


def read_tombstones(lake: Lake) -> Tombstones:
    """All withdrawals of a lake as one.

    Raises:
        TombstoneError: a file is broken, or was changed after it was written.
    """
    withdrawals = [withdrawal for _, withdrawal in read_withdrawals(lake)]
    records = [record for withdrawal in withdrawals for record in withdrawal.records]
    ids_of: dict[str, set[str]] = {}
    for record in records:
        ids_of.setdefault(record.source, set()).add(record.id)
    return Tombstones(
        ids=frozenset(record.id for record in records),
        content_keys=frozenset(record.content_key for record in records),
        sources=frozenset(source for withdrawal in withdrawals for source in withdrawal.sources),
        ids_of={source: frozenset(ids) for source, ids in ids_of.items()},
    )


def withdraw(lake: Lake, records: pl.DataFrame, *, sources: Sequence[str] = (), reason: str = "") -> Path:
    """Leaves a tombstone.

    Args:
        lake: the lake.
        records: columns `id`, `content_key` and `source` of every record to withdraw; copies that other
            sources publish are withdrawn by the key, but a source is only read again where a record names it.
        sources: sources to withdraw as a whole.
        reason: for people.

    Returns:
        The file; an earlier one that withdrew the same for the same reason.

    Raises:
        TombstoneError: there is nothing to withdraw, an id or a key is none, or an earlier file is broken.
        UnsafePathError: a source's name is none.
        DiskFullError: the disk is full; nothing was withdrawn.
        StoreError: the store cannot be reached; nothing was withdrawn.
    """
    rows: Iterable[tuple[str, str, str]] = (
        records.select(pl.col("source", "id", "content_key").cast(pl.String))
        .unique()
        .sort(pl.all())
        .iter_rows()
    )
    try:
        withdrawal = Withdrawal(
            records=tuple(WithdrawnRecord(source=s, id=i, content_key=k) for s, i, k in rows),
            sources=tuple(sorted({safe_name(source) for source in sources})),
            reason=reason,
            created=datetime.now(UTC),
        )
    except ValidationError as error:
        raise TombstoneError(
            f"a record to withdraw needs a source, an id and a content key: {error}"
        ) from None
    if not withdrawal.records and not withdrawal.sources:
        raise TombstoneError("nothing to withdraw; name a record or a source")
    for path, earlier in read_withdrawals(lake):
        if earlier.digest() == withdrawal.digest():
            return path
    path = lake.room(FOLDER) / f"{withdrawal.created:%Y%m%dT%H%M%S}-{withdrawal.digest()}.json"
    write_json_atomically(path, withdrawal.model_dump(mode="json"))
    try:
        share(lake, path, once=True)
    except StoreError:
        # A withdrawal that only this machine honours would look finished.
        path.unlink()
        raise
    return path
