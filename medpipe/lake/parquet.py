"""Parquet parts with fixed row groups, written from bounded batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import polars as pl

from medpipe.lake.digest import FrameDigest

ROW_GROUP_ROWS = 16_384
"""Rows in a row group; fixed, so that neither batching nor threads change the file's layout."""
ROW_GROUP_BYTES = 64_000_000
"""A row group of long rows ends at the row that brings it to so many bytes: all of it waits in memory."""


class ParquetSink:
    """Writes frames of one schema to a Parquet file and keeps the digest of their logical content.

    Rows are regrouped by `ROW_GROUP_ROWS` and `ROW_GROUP_BYTES`, however the batches were cut.
    """

    def __init__(self, path: Path, *, schema: pl.Schema, digest_columns: Sequence[str] | None = None) -> None:
        """Opens the file.

        Args:
            path: the file, written anew.
            schema: of the frames.
            digest_columns: the columns that the digest is made of, where they say all about a row; all
                columns if unset.
        """
        # Imported here: definitions reach this module and must load fast.
        import pyarrow.parquet as pq

        self._schema = schema
        self._empty = schema.to_frame()
        self._writer = pq.ParquetWriter(path, self._empty.to_arrow().schema, compression="zstd")
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0.0
        self.content = FrameDigest()
        self._digest_columns = schema.names() if digest_columns is None else list(digest_columns)
        self.content.update(self._empty.select(self._digest_columns))

    @property
    def rows(self) -> int:
        """Rows taken so far."""
        return self.content.rows

    def write(self, frame: pl.DataFrame) -> None:
        """Appends rows.

        Raises:
            polars.exceptions.SchemaError: a column is missing or has another type.
        """
        frame = frame.match_to_schema(self._schema)
        self.content.update(frame.select(self._digest_columns))
        self._waiting.append(_compact(frame))
        self._waiting_rows += frame.height
        self._waiting_bytes += frame.estimated_size()
        if self._waiting_rows >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush(whole_groups_only=True)

    def _flush(self, *, whole_groups_only: bool) -> None:
        if not self._waiting:
            return
        waiting = pl.concat(self._waiting)
        while waiting.height:
            rows = _rows_of_group(waiting)
            if rows is None and whole_groups_only:
                break
            table = waiting.head(rows or waiting.height).to_arrow().cast(self._writer.schema)
            self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            waiting = waiting.slice(rows or waiting.height)
        self._waiting = [waiting] if waiting.height else []
        self._waiting_rows = waiting.height
        self._waiting_bytes = waiting.estimated_size()

    def close(self) -> None:
        """Writes the rest and the footer."""
        self._flush(whole_groups_only=False)
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()


def _compact(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows in buffers of their own: filtered rows share those of what they were filtered from."""
    return cast(pl.DataFrame, pl.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))).cast(
        frame.schema
    )


def _rows_of_group(waiting: pl.DataFrame) -> int | None:
    """Rows of the first row group, if it is whole already; depends on the rows alone."""
    first = waiting.head(ROW_GROUP_ROWS)
    if first.estimated_size() >= ROW_GROUP_BYTES:
        reached = (_bytes_of_rows(first).cum_sum() >= ROW_GROUP_BYTES).arg_true()
        if reached.len():
            return int(reached[0]) + 1
    return ROW_GROUP_ROWS if first.height == ROW_GROUP_ROWS else None


def _bytes_of_rows(frame: pl.DataFrame) -> pl.Series:
    """Bytes of the strings in each row, also within lists; nothing else can grow large."""
    sizes = [pl.repeat(0, pl.len(), dtype=pl.UInt64)]
    for name, dtype in frame.schema.items():
        if dtype == pl.String:
            sizes.append(pl.col(name).str.len_bytes())
        elif dtype == pl.List(pl.String):
            sizes.append(pl.col(name).list.eval(pl.element().str.len_bytes()).list.sum())
        elif isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
            for field in dtype.inner.fields:
                if field.dtype == pl.String:
                    text = pl.element().struct.field(field.name)
                    sizes.append(pl.col(name).list.eval(text.str.len_bytes()).list.sum())
    return frame.select(pl.sum_horizontal(size.cast(pl.UInt64) for size in sizes)).to_series()


def read_batches(parts: Iterable[Path], *, schema: pl.Schema, rows: int) -> Iterator[pl.DataFrame]:
    """Reads Parquet parts one after the other, a few pages at a time.

    Memory is that of a batch, however long the files are: the streaming engine of Polars reads several row
    groups ahead of a slow consumer, the more the longer a file is.

    Args:
        parts: the files.
        schema: the columns to read and their types.
        rows: most rows of a batch; a batch does not reach over two files.
    """
    import pyarrow.parquet as pq

    names = schema.names()
    for part in parts:
        with pq.ParquetFile(part, pre_buffer=False) as file:
            for arrow in file.iter_batches(rows, columns=names, use_threads=False):
                # Column by column: those of a batch that is taken over as a whole live and die together, so
                # that whoever keeps ids would keep the texts.
                columns = {name: pl.Series(arrow.column(name)) for name in names}
                yield pl.DataFrame(columns).cast(schema)


def scan_parts(parts: list[Path], *, schema: Any) -> pl.LazyFrame:
    """Lazy frame over Parquet parts, with the given schema where there is no part at all."""
    if not parts:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(parts)
