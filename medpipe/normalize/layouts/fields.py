"""Multi-field records (a disease, a drug) as labelled clauses."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import polars as pl

from medpipe.catalog.layouts import FieldsLayout
from medpipe.ingest.readers import LineBatch
from medpipe.normalize.extracted import Batch
from medpipe.normalize.field_values import PlainColumn
from medpipe.normalize.fields import render_records
from medpipe.normalize.labels import Field, chosen_fields
from medpipe.normalize.layouts.field_columns import (
    Columns,
    field_columns,
    members_of,
    reject_unknown,
    wanted_name,
)
from medpipe.records.kinds import Language

_DEEPEST = 32
"""Values within values; no record of a disease or a drug comes near it."""


def read_fields(batch: Batch, layout: FieldsLayout, language: Language) -> pl.DataFrame:
    """Documents: the chosen fields in their fixed order, one labelled clause each.

    Members of the objects in `layout.expand` count as fields of the record. Keys that no chosen field knows
    are left out. Where a record has one field under two spellings that say different things, both stand in
    the text, one after the other.
    """
    fields = chosen_fields(layout.fields, layout.labels)
    columns = field_columns(batch, fields, frozenset(layout.expand))
    try:
        texts = _texts(columns, fields, language, len(batch.values))
    except RecursionError:
        _drop_deep_values(batch, columns)
        texts = _texts(columns, fields, language, len(batch.values))
    return _documents(batch, texts)


def read_field_lines(
    lines: LineBatch, layout: FieldsLayout, language: Language
) -> tuple[Batch, pl.DataFrame] | None:
    """`read_fields` for JSON lines in UTF-8 that are all alike, several times as fast.

    Returns:
        The rows, of which only those are parsed that are rejected, and the documents; None where the lines
        have to be parsed.
    """
    # Imported here: it brings a library that definitions must not wait for.
    from medpipe.normalize.layouts.field_lines import field_lines

    fields = chosen_fields(layout.fields, layout.labels)
    expand = frozenset(layout.expand)
    columns = field_lines(lines, fields, expand)
    if columns is None:
        return None
    rows = range(lines.first_row, lines.first_row + len(lines))
    batch = Batch(rows=rows, values=_ParsedOnDemand(lines))
    texts = _texts(columns, fields, language, len(lines))
    by_name = {field.name for field in fields}
    for position in texts.is_null().arg_true().to_list():
        row = batch.expect_object(position)
        if not any(wanted_name(key, by_name) for key, _ in members_of(row, expand)):
            reject_unknown(batch, position, row)
    return batch, _documents(batch, texts)


class _ParsedOnDemand(Sequence[Any]):
    def __init__(self, lines: LineBatch) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, position: Any) -> Any:
        return self._lines.value(position)


def _documents(batch: Batch, texts: pl.Series) -> pl.DataFrame:
    frame = texts.to_frame("text").with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64))
    batch.reject_all(
        frame.filter(pl.col("text").is_null())["position"], "empty_text", "every known field is empty"
    )
    return batch.kept(frame)


def _texts(columns: Columns, fields: Sequence[Field], language: Language, height: int) -> pl.Series:
    present = [(field, column) for field in fields for column in columns.get(field.name, ())]
    return render_records(present, language) if present else pl.Series([None] * height, dtype=pl.String)


def _drop_deep_values(batch: Batch, columns: Columns) -> None:
    """Rejects the rows whose values are nested too deep to render."""
    for column in itertools.chain.from_iterable(columns.values()):
        if isinstance(column, PlainColumn):
            continue
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
