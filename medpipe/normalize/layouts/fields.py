"""Multi-field records (a disease, a drug) as labelled clauses."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from medpipe.catalog.layouts import FieldsLayout
from medpipe.normalize.extracted import Batch
from medpipe.normalize.fields import join_clauses, render_columns
from medpipe.normalize.labels import Field, chosen_fields, find_field
from medpipe.normalize.literals import literal_value
from medpipe.normalize.tidy import says_nothing
from medpipe.records.kinds import Language

_DEEPEST = 32
"""Values within values; no record of a disease or a drug comes near it."""

_Columns = dict[str, list[list[Any]]]
"""Values by field: a column for each of the spellings that one record has it under."""


def read_fields(batch: Batch, layout: FieldsLayout, language: Language) -> pl.DataFrame:
    """Documents: the chosen fields in their fixed order, one labelled clause each.

    Members of the objects in `layout.expand` count as fields of the record. Keys that no chosen field knows
    are left out. Where a record has one field under two spellings that say different things, both stand in
    the text, one after the other.
    """
    fields = chosen_fields(layout.fields, layout.labels)
    columns = _columns(batch, fields, frozenset(layout.expand))
    try:
        texts = _texts(columns, fields, language, len(batch.values))
    except RecursionError:
        _drop_deep_values(batch, columns)
        texts = _texts(columns, fields, language, len(batch.values))
    frame = texts.to_frame("text").with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64))
    batch.reject_all(
        frame.filter(pl.col("text").is_null())["position"], "empty_text", "every known field is empty"
    )
    return batch.kept(frame)


def _columns(batch: Batch, fields: Sequence[Field], expand: Collection[str]) -> _Columns:
    """The values of each field; rows without any known field are rejected."""
    height = len(batch.values)
    chosen = frozenset(field.name for field in fields)
    columns: _Columns = {}
    names: dict[str, str | None] = {}
    for position in range(height):
        row = batch.expect_object(position)
        known = False
        for key, value in _members(row, expand) if expand else row.items():
            if key not in names:
                names[key] = _chosen_name(key, chosen)
            name = names[key]
            if name is None:
                continue
            known = True
            spellings = columns.setdefault(name, [])
            for column in spellings:
                if column[position] is None or says_nothing(column[position]):
                    break
            else:
                spellings.append(column := [None] * height)
            column[position] = value
        if not known:
            batch.reject(position, "no_known_field", f"keys: {', '.join(row) or 'none'}"[:500])
    return columns


def _members(row: dict[str, Any], expand: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The fields of a row, with those of expanded objects in their place."""
    for key, value in row.items():
        inner = literal_value(value) if key in expand and type(value) is str else value
        if key in expand and type(inner) is dict:
            yield from _members(inner, expand)
        else:
            yield key, value


def _chosen_name(key: str, chosen: Collection[str]) -> str | None:
    """Canonical name of a published key if its field was chosen."""
    if key in chosen:
        return key
    field = find_field(key)
    return field.name if field is not None and field.name in chosen else None


def _texts(columns: _Columns, fields: Sequence[Field], language: Language, height: int) -> pl.Series:
    present = [(field, column) for field in fields for column in columns.get(field.name, ())]
    rendered: list[tuple[Field, pl.Series]] = []
    for (field, _), text in zip(present, render_columns(present, language), strict=True):
        for other in (column for before, column in rendered if before is field):
            text = text.set((text == other).fill_null(False), None)
        rendered.append((field, text))
    return join_clauses(rendered, language) if rendered else pl.Series([None] * height, dtype=pl.String)


def _drop_deep_values(batch: Batch, columns: _Columns) -> None:
    """Rejects the rows whose values are nested too deep to render."""
    for column in itertools.chain.from_iterable(columns.values()):
        for position, value in enumerate(column):
            if _is_deep(value):
                batch.reject(position, "unexpected_type", f"values are nested deeper than {_DEEPEST} levels")
                column[position] = None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            item
            for inner in level
            if type(inner) in (list, dict)
            for item in (inner.values() if type(inner) is dict else inner)
        ]
    return bool(level)
