"""Which rows of a file are read at all, completed by a second table where the catalog names one."""

from __future__ import annotations

from medpipe.catalog.source import SourceFile
from medpipe.ingest.readers import RowBatch
from medpipe.normalize.extracted import Batch, Rejection, as_object
from medpipe.normalize.lookup import LookupTable, field_text

_SHOWN_CHARACTERS = 80


def choose_rows(
    rows: RowBatch, file: SourceFile, lookup: LookupTable | None
) -> tuple[Batch, list[Rejection]]:
    """The rows that go on to the layout, and those that do not.

    A row whose field has none of the values of `keep_where` is rejected as `not_wanted`; then one whose key
    the second table lacks as `no_match`. Values are compared as text.

    Args:
        rows: rows as published.
        file: the catalog's words about their file.
        lookup: its second table, if it has one.

    Raises:
        NormalizeError: the second table takes over a field that a row has itself.
    """
    published = Batch(rows=rows.rows, values=rows.values)
    if not file.keep_where and lookup is None:
        return published, []
    objects = [as_object(value) for value in rows.values]
    for field, wanted in file.keep_where.items():
        for position, row in enumerate(objects):
            text = field_text(row.get(field))
            if text not in wanted:
                is_text = "missing" if text is None else f"'{text[:_SHOWN_CHARACTERS]}'"
                published.reject(position, "not_wanted", f"{field} is {is_text}")
    if file.lookup is not None and lookup is not None:
        wanted_rows = [position for position in range(len(objects)) if position not in published.rejections]
        completed = lookup.complete([objects[position] for position in wanted_rows])
        for position, whole in zip(wanted_rows, completed, strict=True):
            if whole is None:
                key = field_text(objects[position].get(file.lookup.key))
                published.reject(
                    position, "no_match", f"{file.lookup.key} {(key or 'missing')[:_SHOWN_CHARACTERS]}"
                )
            else:
                objects[position] = whole
    kept = [position for position in range(len(objects)) if position not in published.rejections]
    values = rows.values if lookup is None else objects
    return (
        Batch(rows=[rows.rows[p] for p in kept], values=[values[p] for p in kept]),
        list(published.rejections.values()),
    )
