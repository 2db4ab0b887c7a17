"""A second table that completes each row by key, such as question texts that lie apart from their answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from medpipe.catalog.source import Lookup
from medpipe.ingest.archives import unpacked
from medpipe.ingest.readers import read_rows
from medpipe.normalize.errors import NormalizeError
from medpipe.normalize.extracted import as_object

MAX_ROWS = 5_000_000
MAX_BYTES = 2_000_000_000
"""A table is held in memory: more rows or bytes than this are refused."""
_SHOWN_FIELDS = 20


class LookupTable:
    """Rows of the second table by key, in memory: two columns of strings, the fields taken as JSON."""

    def __init__(self, lookup: Lookup, rows: pl.DataFrame) -> None:
        """Sorts the table.

        Args:
            lookup: which field is the key and which are taken.
            rows: String columns `key` and `taken` (a JSON list of the fields taken); of equal keys the first
                counts.
        """
        self._lookup = lookup
        self._names = [f"{lookup.prefix}{name}" for name in lookup.take]
        self._rows = rows.unique("key", keep="first", maintain_order=True).sort("key")

    @property
    def rows(self) -> int:
        """Number of different keys."""
        return self._rows.height

    def complete(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """Each row with the fields of its partner; None where no row has its key.

        Raises:
            NormalizeError: a row has a field of the same name as one that is taken over.
        """
        if not rows or not self.rows:
            return [None] * len(rows)
        keys = pl.Series([field_text(row.get(self._lookup.key)) for row in rows], dtype=pl.String)
        places = self._rows["key"].search_sorted(keys.fill_null("")).clip(upper_bound=self.rows - 1)
        found = (self._rows["key"].gather(places) == keys).fill_null(False)
        taken = self._rows["taken"].gather(places)
        return [
            self._merged(row, json.loads(text)) if hit else None
            for row, text, hit in zip(rows, taken.to_list(), found.to_list(), strict=True)
        ]

    def _merged(self, row: dict[str, Any], values: list[Any]) -> dict[str, Any]:
        for name in self._names:
            if name in row:
                raise NormalizeError(
                    f"the lookup of {self._lookup.path} takes over '{name}', which the row has itself; set "
                    "'prefix' in 'lookup' of the catalog entry"
                )
        return row | dict(zip(self._names, values, strict=True))


def load_lookup(lookup: Lookup, paths: Sequence[Path]) -> LookupTable:
    """Reads the second table of an entry; rows without a key, and broken ones, are left out.

    Args:
        lookup: the catalog entry's words about it.
        paths: its files.

    Raises:
        NormalizeError: there is no file, it is too large, or no row has one of the fields named.
        IngestError: a file cannot be read.
    """
    if not paths:
        raise NormalizeError(
            f"no file matches '{lookup.path}' of a lookup; correct it in the catalog entry, then materialise "
            "the source's raw asset again"
        )
    parts: list[pl.DataFrame] = []
    rows = size = 0
    seen: set[str] = set()
    for objects in _objects(lookup, paths):
        seen.update(name for row in objects for name in row)
        pairs = [
            (key, _json([row.get(name) for name in lookup.take]))
            for row in objects
            if (key := field_text(row.get(lookup.key))) is not None
        ]
        parts.append(pl.DataFrame(pairs, schema={"key": pl.String, "taken": pl.String}, orient="row"))
        rows += len(pairs)
        size += sum(len(key) + len(taken) for key, taken in pairs)
        if rows > MAX_ROWS or size > MAX_BYTES:
            raise NormalizeError(
                f"the lookup of {lookup.path} is held in memory and has more than {MAX_ROWS:,} rows or "
                f"{MAX_BYTES:,} characters; take fewer fields, or name fewer files by 'path' and 'member'"
            )
    for name in (lookup.key, *lookup.take):
        if name not in seen:
            shown = ", ".join(sorted(seen)[:_SHOWN_FIELDS]) or "nothing"
            raise NormalizeError(
                f"no row of the lookup {lookup.path} has the field '{name}'; it has: {shown}. Correct "
                "'lookup' in the catalog entry"
            )
    return LookupTable(lookup, pl.concat(parts))


def field_text(value: Any) -> str | None:
    """A field as text, so that `1` of a JSON file equals `1` of a table; None where there is no value."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _json(value)


def _json(value: Any) -> str:
    # Not orjson, which refuses integers beyond 64 bits.
    return json.dumps(value, ensure_ascii=False, default=str)


def _objects(lookup: Lookup, paths: Sequence[Path]) -> Iterator[list[dict[str, Any]]]:
    for path in paths:
        with unpacked(path, member=lookup.member, file_format=lookup.format) as files:
            for file in files:
                for batch in read_rows(file.path, file_format=lookup.format):
                    yield [as_object(value) for value in batch.values]
