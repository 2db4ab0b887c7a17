"""Multi-field records (a disease, a drug) as labelled clauses."""

from __future__ import annotations

from typing import Any

import polars as pl

from medpipe.catalog.layouts import FieldsLayout
from medpipe.normalize.extracted import Batch
from medpipe.normalize.fields import join_clauses, render_column, says_nothing
from medpipe.normalize.labels import Field, chosen_fields, find_field
from medpipe.records.kinds import Language


def read_fields(batch: Batch, layout: FieldsLayout, language: Language) -> pl.DataFrame:
    """Documents: the chosen fields in their fixed order, one labelled clause each.

    Keys that no chosen field knows are left out. Where a record has one field under two spellings, the
    first that says anything counts.
    """
    fields = chosen_fields(layout.fields)
    by_name = {field.name: field for field in fields}
    columns: dict[str, list[Any]] = {}
    resolved: dict[str, str | None] = {}
    height = len(batch.values)
    for position in range(height):
        row = batch.expect_object(position)
        if row is None:
            continue
        known = False
        for key, value in row.items():
            if key not in resolved:
                resolved[key] = _chosen_name(key, by_name)
            name = resolved[key]
            if name is None:
                continue
            known = True
            if name not in columns:
                columns[name] = [None] * height
            if says_nothing(columns[name][position]):
                columns[name][position] = value
        if not known:
            batch.reject(position, "no_known_field", f"keys: {', '.join(row) or 'none'}"[:500])
    rendered = [
        (field, render_column(columns[field.name], field, language))
        for field in fields
        if field.name in columns
    ]
    texts = join_clauses(rendered, language) if rendered else pl.Series([None] * height, dtype=pl.String)
    frame = texts.to_frame("text").with_columns(position=pl.int_range(height, dtype=pl.Int64))
    batch.reject_all(
        frame.filter(pl.col("text").is_null())["position"], "empty_text", "every known field is empty"
    )
    return batch.kept(frame)


def _chosen_name(key: str, by_name: dict[str, Field]) -> str | None:
    """Canonical name of a published key if its field was chosen."""
    if key in by_name:
        return key
    field = find_field(key)
    return field.name if field is not None and field.name in by_name else None
