"""Parquet and Arrow files, some rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medpipe.ingest.batches import Record, broken
from medpipe.ingest.columns import column_names
from medpipe.ingest.errors import IngestError

BATCH_ROWS = 2_048
BATCH_BYTES = 8_000_000
"""Rows are made Python objects so many bytes at a time."""

_STREAM_BYTES = 1 << 20
_FILE_MAGIC = b"ARROW1"
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


def read_parquet(path: Path) -> Iterator[Record]:
    """Yields each row of a Parquet file as an object of column name and value.

    Values are as JSON has them: dates and times as ISO 8601 strings, decimals as strings, maps with string
    keys as objects, NaN and infinite numbers as null, bytes as text if they are UTF-8 and null if not. A text
    that is not UTF-8 is a fault `encoding` of its row.

    Raises:
        IngestError: the file is no Parquet, damaged or encrypted.
    """
    try:
        # Without a buffer a column of a whole row group, which may be the whole file, is read at once.
        with pq.ParquetFile(path, buffer_size=_STREAM_BYTES, pre_buffer=False) as file:
            facts = file.metadata
            size = sum(facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
            rows = _rows_at_once(size, facts.num_rows)
            for batch in file.iter_batches(batch_size=rows):
                yield from _records(batch)
    except _DAMAGE as error:
        raise _unreadable(path, "Parquet", error) from None


def read_arrow(path: Path) -> Iterator[Record]:
    """Yields each row of an Arrow IPC file or stream (`datasets` writes streams), as `read_parquet` does.

    The file is mapped: pages that were read count as memory of the process until the system wants them back.

    Raises:
        IngestError: the file is no Arrow, or damaged.
    """
    try:
        with pa.memory_map(str(path)) as file:
            is_file = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            file.seek(0)
            for batch in _stored_batches(file) if is_file else pa.ipc.open_stream(file):
                rows = _rows_at_once(batch.get_total_buffer_size(), batch.num_rows)
                for start in range(0, batch.num_rows, rows):
                    yield from _records(batch.slice(start, rows))
    except _DAMAGE as error:
        raise _unreadable(path, "Arrow", error) from None


def _stored_batches(file: Any) -> Iterator[Any]:
    reader = pa.ipc.open_file(file)
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def _rows_at_once(size: int, rows: int) -> int:
    return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(1, size)))


def _unreadable(path: Path, name: str, error: Exception) -> IngestError:
    return IngestError(
        f"{path} cannot be read as {name} ({str(error).splitlines()[0] if str(error) else error!r}); it is "
        "damaged or of another format: fetch it again, or correct 'format' in the catalog"
    )


def _records(batch: Any) -> Iterator[Record]:
    batch = batch.rename_columns(column_names(batch.schema.names))
    odd = [field.name for field in batch.schema if not _is_plain(field.type)]
    try:
        # Arrow takes a file's offsets on trust: damaged ones would end the process.
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        if batch.num_rows == 1:
            yield broken("encoding", "a text is not UTF-8", "")
            return
        for number in range(batch.num_rows):
            yield from _records(batch.slice(number, 1))
        return
    size = batch.nbytes // max(1, batch.num_rows)
    for row in batch.to_pylist():
        for name in odd:
            row[name] = json_like(row[name])
        yield Record(row, size)


def _is_plain(kind: Any) -> bool:
    """Whether Arrow's Python values of this type are JSON values already."""
    types = pa.types
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if any(is_list(kind) for is_list in (types.is_list, types.is_large_list, types.is_fixed_size_list)):
        return _is_plain(kind.value_type)
    if types.is_struct(kind):
        return all(_is_plain(kind.field(number).type) for number in range(kind.num_fields))
    plain: tuple[Callable[[Any], bool], ...] = (
        types.is_string,
        types.is_large_string,
        types.is_integer,
        types.is_boolean,
        types.is_null,
    )
    return any(is_plain(kind) for is_plain in plain)


def json_like(value: Any) -> Any:
    """A value of a typed table as JSON has it; see `read_parquet`."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case dict():
            return {str(name): json_like(item) for name, item in value.items()}
        case list() | tuple() if value and all(_is_entry(item) for item in value):
            return {name: json_like(item) for name, item in value}
        case list() | tuple():
            return [json_like(item) for item in value]
        case _:
            return str(value)


def _is_entry(item: Any) -> bool:
    """Whether an item of a list is an entry of a map with string keys."""
    return type(item) is tuple and len(item) == 2 and type(item[0]) is str
