"""What readers yield: rows in bounded batches, broken ones beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

RAW_CHARACTERS = 2_000
"""A broken row is kept as published up to this length."""
BATCH_BYTES = 32_000_000
"""A batch ends early once its rows have so many bytes as published."""


@dataclass(frozen=True)
class BrokenRow:
    """A published record that could not be read."""

    row: int
    """0-based index among the records of its file."""
    reason: str
    """Short snake_case name."""
    detail: str
    """What exactly was wrong, with the place."""
    raw: str
    """The row as published, cut to `RAW_CHARACTERS`."""


@dataclass(frozen=True)
class RowBatch:
    """Consecutive records of one file."""

    rows: list[int] = field(default_factory=list)
    """0-based index of each value among the records of its file."""
    values: list[Any] = field(default_factory=list)
    """Parsed JSON values, or strings for the text formats."""
    broken: list[BrokenRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows) + len(self.broken)


class Fault(NamedTuple):
    """Why a record could not be read."""

    reason: str
    detail: str
    raw: str


class Record(NamedTuple):
    """One published record: a value, or a fault."""

    value: Any
    bytes: int
    """Size as published, about."""
    fault: Fault | None = None


def broken(reason: str, detail: str, raw: str) -> Record:
    """A record that could not be read."""
    return Record(None, len(raw), Fault(reason, detail, raw[:RAW_CHARACTERS]))


def batched(
    records: Iterator[Record],
    *,
    batch_rows: int,
    batch_bytes: float | None = None,
    first_row: int = 0,
) -> Iterator[RowBatch]:
    """Numbers records and gathers them into batches of at most `batch_rows` rows.

    Args:
        records: in their order.
        batch_rows: most rows in a batch.
        batch_bytes: a batch ends once its rows have so many bytes as published; `BATCH_BYTES` if unset.
        first_row: number of the first record.
    """
    most_bytes = BATCH_BYTES if batch_bytes is None else batch_bytes
    batch = RowBatch()
    size = 0
    for row, record in enumerate(records, first_row):
        if record.fault is None:
            batch.rows.append(row)
            batch.values.append(record.value)
        else:
            batch.broken.append(BrokenRow(row, *record.fault))
        size += record.bytes
        if len(batch) >= batch_rows or size >= most_bytes:
            yield batch
            batch, size = RowBatch(), 0
    if len(batch):
        yield batch
