"""The values of the fields of JSON lines that are all alike, taken from an Arrow table.

The same columns as `field_columns` gives, without a Python object for each string.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa

from medpipe.ingest.line_table import read_line_table
from medpipe.ingest.readers import LineBatch
from medpipe.normalize.field_values import Column, PlainColumn
from medpipe.normalize.labels import Field
from medpipe.normalize.layouts.field_columns import Columns, wanted_name

_MAY_BE_LITERAL = r"^[\s\x1C-\x1F]*[\[{]"
"""`field_values.MAY_BE_LITERAL` as Polars writes it."""


def field_lines(lines: LineBatch, fields: Sequence[Field], expand: Collection[str]) -> Columns | None:
    """The values of each field, or None where only the parsed lines can tell them.

    Args:
        lines: in UTF-8.
        fields: the fields that are wanted.
        expand: keys of objects whose members count as fields of the row.
    """
    table = read_line_table(lines)
    if table is None:
        return None
    arrays = (column.combine_chunks() for column in table.columns)
    by_name = {field.name: field for field in fields}
    columns: dict[str, Column] = {}
    for key, array in _members(table.schema, arrays, expand):
        name = wanted_name(key, by_name)
        if name is None:
            continue
        column = _column(array, by_name[name])
        if column is not None and name in columns:
            column = _merged(columns[name], column)
        if column is None:
            return None
        columns[name] = column
    return {name: [column] for name, column in columns.items()}


def _members(
    fields: Iterable[pa.Field], arrays: Iterable[pa.Array], expand: Collection[str]
) -> Iterator[tuple[str, pa.Array]]:
    """Columns by key, with those of expanded objects in their place."""
    for field, array in zip(fields, arrays, strict=True):
        if field.name in expand and pa.types.is_struct(field.type):
            yield from _members(field.type, array.flatten(), expand)
        else:
            yield field.name, array


def _column(array: pa.Array, field: Field) -> Column | None:
    """A column of strings, or of parsed values where these are what the lines say, else None."""
    kind = array.type
    if not _is_exact(kind):
        return None
    if not field.paragraphs:
        if pa.types.is_string(kind):
            strings = cast(pl.Series, pl.from_arrow(array.drop_null()))
            if not strings.str.contains(_MAY_BE_LITERAL).any():
                return PlainColumn(strings, np.asarray(array.is_valid()).astype(np.int64))
        if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
            items = array.flatten()
            if items.null_count == 0:
                counts = np.asarray(array.value_lengths().fill_null(0)).astype(np.int64)
                return PlainColumn(cast(pl.Series, pl.from_arrow(items)), counts)
    return [*array.to_pylist()]


def _is_exact(kind: pa.DataType) -> bool:
    """Whether Arrow's values of a type are those of the JSON that they were read from."""
    if pa.types.is_list(kind):
        return _is_exact(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_int64(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _merged(first: Column, second: Column) -> Column | None:
    """One field under two spellings as one column, if no row says something under both."""
    if not (isinstance(first, PlainColumn) and isinstance(second, PlainColumn)):
        return None
    if (first.counts.astype(bool) & second.counts.astype(bool)).any():
        return None
    rows = np.arange(len(first.counts))
    owners = np.concatenate([np.repeat(rows, first.counts), np.repeat(rows, second.counts)])
    order = pl.Series(np.argsort(owners, kind="stable"))
    return PlainColumn(pl.concat([first.strings, second.strings]).gather(order), first.counts + second.counts)
