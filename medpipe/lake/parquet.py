"""Parquet parts with fixed row groups, written from bounded batches."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from medpipe.lake.digest import FrameDigest

ROW_GROUP_ROWS = 16_384
"""Rows in a row group; fixed, so that neither batching nor threads change the file's layout."""


class ParquetSink:
    """Writes frames of one schema to a Parquet file and keeps the digest of their logical content.

    Rows are regrouped into row groups of `ROW_GROUP_ROWS`, however the batches were cut.
    """

    def __init__(self, path: Path, *, schema: pl.Schema) -> None:
        # Imported here: definitions reach this module and must load fast.
        import pyarrow.parquet as pq

        self._schema = schema
        self._empty = schema.to_frame()
        self._writer = pq.ParquetWriter(path, self._empty.to_arrow().schema, compression="zstd")
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self.content = FrameDigest()
        self.content.update(self._empty)

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
        self.content.update(frame)
        self._waiting.append(frame)
        self._waiting_rows += frame.height
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._flush(whole_groups_only=True)

    def _flush(self, *, whole_groups_only: bool) -> None:
        if not self._waiting:
            return
        waiting = pl.concat(self._waiting)
        end = waiting.height - waiting.height % ROW_GROUP_ROWS if whole_groups_only else waiting.height
        for start in range(0, end, ROW_GROUP_ROWS):
            group = waiting.slice(start, min(ROW_GROUP_ROWS, end - start))
            table = group.to_arrow().cast(self._writer.schema)
            self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        rest = waiting.slice(end)
        self._waiting = [rest] if rest.height else []
        self._waiting_rows = rest.height

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


def scan_parts(parts: list[Path], *, schema: Any) -> pl.LazyFrame:
    """Lazy frame over Parquet parts, with the given schema where there is no part at all."""
    if not parts:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(parts)
