"""The values of a batch's fields, column by column."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from medpipe.normalize.extracted import Batch
from medpipe.normalize.field_values import MAY_BE_LITERAL, Column, PlainColumn
from medpipe.normalize.labels import Field, find_field
from medpipe.normalize.literals import literal_value
from medpipe.normalize.tidy import says_nothing

Columns = dict[str, list[Column]]
"""Columns by field: one for each of the spellings that one record has it under."""


@dataclass(slots=True, kw_only=True)
class _Taken:
    """The strings of a field of many records, on their way to a `PlainColumn`."""

    counts: list[int]
    """How many strings are of each record."""
    strings: list[str] = field(default_factory=list)
    has_strings: bool = False
    has_lists: bool = False
    holds_only_text: bool = True
    """Whether nothing but strings and lists was found, once in a record."""

    def plain(self) -> PlainColumn:
        return PlainColumn(pl.Series(self.strings, dtype=pl.String), np.array(self.counts, np.int64))


def field_columns(batch: Batch, fields: Sequence[Field], expand: Collection[str]) -> Columns:
    """The values of each field; rows without any known field are rejected.

    Args:
        batch: the rows.
        fields: the fields that are wanted.
        expand: keys of objects whose members count as fields of the row.
    """
    by_name = {field.name: field for field in fields}
    taken, names = _taken_columns(batch, by_name, expand)
    columns: Columns = {
        name: [column.plain()]
        for name, column in taken.items()
        if not by_name[name].paragraphs and _is_plain(column)
    }
    others = {key: name for key, name in names.items() if name not in columns}
    return columns | _any_columns(batch, others, expand)


def _taken_columns(
    batch: Batch, wanted: Collection[str], expand: Collection[str]
) -> tuple[dict[str, _Taken], dict[str, str]]:
    """Columns by field, good for those that hold strings and lists of strings alone; fields by key."""
    columns: dict[str, _Taken] = {}
    by_key: dict[str, _Taken | None] = {}
    names: dict[str, str] = {}
    height = len(batch.values)
    for position in range(height):
        row = batch.expect_object(position)
        is_known = False
        for key, value in members_of(row, expand) if expand else row.items():
            try:
                column = by_key[key]
            except KeyError:
                name = wanted_name(key, wanted)
                if name is not None:
                    names[key] = name
                    columns.setdefault(name, _Taken(counts=[0] * height))
                column = by_key[key] = None if name is None else columns[name]
            if column is None:
                continue
            is_known = True
            if type(value) is str:
                count = 1
                column.strings.append(value)
                column.has_strings = True
            elif type(value) is list:
                count = len(value)
                column.strings += value
                column.has_lists = True
            else:
                count = 0
                column.holds_only_text &= value is None
            if column.counts[position]:
                column.holds_only_text = False
            column.counts[position] = count
        if not is_known:
            reject_unknown(batch, position, row)
    return columns, names


def reject_unknown(batch: Batch, position: int, row: Collection[str]) -> None:
    """Rejects a row that has no known field, saying which keys it has."""
    batch.reject(position, "no_known_field", f"keys: {', '.join(row) or 'none'}"[:500])


def _is_plain(column: _Taken) -> bool:
    strings = column.strings
    return (
        column.holds_only_text
        and not (column.has_lists and {*map(type, strings)} - {str})
        and not (column.has_strings and any(map(MAY_BE_LITERAL.match, strings)))
    )


def _any_columns(batch: Batch, names: dict[str, str], expand: Collection[str]) -> Columns:
    """The columns of all other fields, given by their published keys.

    The first spelling that says anything makes the field's first column, the next one its second.
    """
    height = len(batch.values)
    columns: dict[str, list[list[Any]]] = {}
    for position in range(height if names else 0):
        row = batch.expect_object(position)
        for key, value in members_of(row, expand) if expand else row.items():
            name = names.get(key)
            if name is None:
                continue
            spellings = columns.setdefault(name, [])
            for column in spellings:
                if column[position] is None or says_nothing(column[position]):
                    break
            else:
                spellings.append(column := [None] * height)
            column[position] = value
    return {name: [*spellings] for name, spellings in columns.items()}


def members_of(row: dict[str, Any], expand: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The fields of a row, with those of expanded objects in their place."""
    for key, value in row.items():
        inner = literal_value(value) if key in expand and type(value) is str else value
        if key in expand and type(inner) is dict:
            yield from members_of(inner, expand)
        else:
            yield key, value


def wanted_name(key: str, wanted: Collection[str]) -> str | None:
    """Canonical name of a published key if its field is wanted."""
    if key in wanted:
        return key
    field = find_field(key)
    return field.name if field is not None and field.name in wanted else None
