"""What a layout makes of a batch of rows: records and rejections, nothing lost between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any

import orjson
import polars as pl

RAW_CHARACTERS = 2_000
"""Characters of a rejected row that are kept."""


@dataclass(frozen=True)
class Rejection:
    """One row that gives no record."""

    row: int
    reason: str
    detail: str | None
    raw: str | None


class UnusableRowError(Exception):
    """A row, or something within it, that no record can be made of."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """Short snake_case name of the rule."""
        self.detail = detail


@dataclass(kw_only=True)
class Batch:
    """Rows on their way through a layout; a row is rejected once at most."""

    rows: Sequence[int]
    """Index of each row in its file."""
    values: Sequence[Any]
    """The parsed rows."""
    rejections: dict[int, Rejection] = field(default_factory=dict)
    """By position in the batch."""

    def reject(self, position: int, reason: str, detail: str | None = None) -> None:
        """Sets a row aside with the name of the rule and what exactly was wrong."""
        if position not in self.rejections:
            raw = raw_text(self.values[position])
            self.rejections[position] = Rejection(self.rows[position], reason, detail, raw)

    def reject_all(self, positions: pl.Series, reason: str, detail: str | None = None) -> None:
        """`reject` for several rows."""
        for position in positions.to_list():
            self.reject(position, reason, detail)

    def kept(self, records: pl.DataFrame) -> pl.DataFrame:
        """The records of rows that were not rejected: `position` becomes `row` and `part`, in row order."""
        rejected = pl.Series(list(self.rejections), dtype=pl.Int64)
        rows = pl.Series(self.rows, dtype=pl.Int64)
        records = records.filter(pl.col("position").is_in(rejected.implode()).not_()).sort(
            "position", maintain_order=True
        )
        index = pl.int_range(pl.len(), dtype=pl.Int32)
        starts = pl.col("position").ne_missing(pl.col("position").shift())
        return records.select(
            rows.gather(records["position"]).alias("row"),
            # What `index.over("position")` gives, ten times as fast.
            (index - pl.when(starts).then(index).forward_fill()).alias("part"),
            pl.exclude("position"),
        )

    def expect_object(self, position: int) -> dict[str, Any]:
        """The row as an object: a list has the fields `0`, `1`, …, a bare value the field `value`."""
        return as_object(self.values[position])


def as_object(value: Any) -> dict[str, Any]:
    """A parsed value as an object: a list has the fields `0`, `1`, …, a bare value the field `value`."""
    if type(value) is dict:
        return value
    if type(value) is list:
        return {str(index): item for index, item in enumerate(value)}
    return {"value": value}


def raw_text(value: Any) -> str:
    """A row as published, or as the JSON it was parsed from, cut to `RAW_CHARACTERS`."""
    if isinstance(value, str):
        return value[:RAW_CHARACTERS]
    try:
        return orjson.dumps(value, default=str).decode()[:RAW_CHARACTERS]
    except TypeError:
        # orjson writes no integer beyond 64 bits and no value nested deeper than 254 levels.
        return _SHORTENED.repr(value)[:RAW_CHARACTERS]


_SHORTENED = Repr()
_SHORTENED.maxlevel = 32
_SHORTENED.maxdict = _SHORTENED.maxlist = _SHORTENED.maxstring = _SHORTENED.maxlong = RAW_CHARACTERS


_TYPE_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}


def type_name(value: Any) -> str:
    """JSON type of a value for messages."""
    return _TYPE_NAMES.get(type(value), "a number")
