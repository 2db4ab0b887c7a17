"""JSON lines as an Arrow table, for lines that are all alike.

Arrow parses them without Python's lock and keeps strings as bytes. But it joins what JSON keeps apart, so it
is asked only where its table says the same as the lines do, and everything else is left to a JSON parser.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.json

from medpipe.ingest.json_lines import LineBatch, LineShape, value_of
from medpipe.ingest.nesting import deepest_nesting

_DEEPEST = 32
"""Arrow recurses into nested types without looking how deep they are."""
_NO_JSON = re.compile(rb"NaN|Inf")
"""Numbers that Arrow takes and JSON has not."""


def read_line_table(batch: LineBatch) -> pa.Table | None:
    """The table of some lines, or None where it would not be the same.

    A table is given where each line is one object, in UTF-8, and each key holds values of one type or null.
    Two things are lost in it: whether a key is missing or null, and the order of keys. Columns with
    fractions or points in time say less than the lines do; the caller must look at the types.

    Args:
        batch: lines in UTF-8.
    """
    lines = [value_of(line) for line in batch.lines]
    # No JSON value has `}` and `{` in a row with a line's end between them: no value spans such lines.
    if any(line.too_long for line in batch.lines) or not all(
        line.startswith(b"{") and line.endswith(b"}") for line in lines
    ):
        return None
    data = b"\n".join(lines)
    try:
        _check_utf8(data)
        table = _table(data, batch.shape)
    except pa.ArrowInvalid:
        return None
    if table is None or table.num_rows != len(lines):
        return None
    return None if _has_fractions(table.schema.types) and _NO_JSON.search(data) else table


def _table(data: bytes, shape: LineShape) -> pa.Table | None:
    """The table of some lines, by the types that were found before or, where these fail, by new ones.

    Raises:
        pyarrow.ArrowInvalid: Arrow cannot read them.
    """
    known = shape.schema
    if known is not None:
        with contextlib.suppress(pa.ArrowInvalid):
            return _parsed(data, known)
    if deepest_nesting(np.frombuffer(data, np.uint8)) > _DEEPEST:
        return None
    # For the types alone: Arrow 25 makes invalid arrays of lists that begin with null when it infers them.
    found = _settled(_parsed(data, None).schema)
    shape.schema = found
    if known is not None:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):
            shape.schema = pa.unify_schemas([known, found])
    return _parsed(data, found)


def _settled(schema: pa.Schema) -> pa.Schema:
    """The types of a table, with strings where only nulls were seen."""
    return pa.schema([(field.name, _settled_type(field.type)) for field in schema])


def _settled_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_settled_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _settled_type(field.type)) for field in kind])
    return kind


def _parsed(data: bytes, schema: pa.Schema | None) -> pa.Table:
    return pyarrow.json.read_json(
        pa.BufferReader(data),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "error"
        ),
    )


def _check_utf8(data: bytes) -> None:
    ends = pa.py_buffer(np.array([0, len(data)], np.int64))
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(data)])
    text.validate(full=True)


def _has_fractions(kinds: Iterable[pa.DataType]) -> bool:
    return any(
        pa.types.is_floating(kind)
        or _has_fractions(kind.field(number).type for number in range(kind.num_fields))
        for kind in kinds
    )
