"""Parquet parts of a bounded number of rows, cut at the same rows however the batches came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from medpipe.lake.digest import digest_value
from medpipe.lake.parquet import ROW_GROUP_ROWS, ParquetSink

PART_ROWS = 8 * ROW_GROUP_ROWS
"""Rows in a part."""


class PartWriter:
    """Writes frames of one schema as `part-00000.parquet`, `part-00001.parquet`, …; at least one part."""

    def __init__(
        self, folder: Path, *, schema: pl.Schema, digest_columns: Sequence[str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._schema = schema
        self._digest_columns = digest_columns
        self._digests: list[str] = []
        self.rows_by_part: dict[str, int] = {}
        self._open_next()

    def _open_next(self) -> None:
        self._name = f"part-{len(self._digests):05d}.parquet"
        self._sink = ParquetSink(
            self._folder / self._name, schema=self._schema, digest_columns=self._digest_columns
        )

    def write(self, frame: pl.DataFrame) -> None:
        """Appends rows.

        Raises:
            polars.exceptions.SchemaError: a column is missing or has another type.
        """
        while frame.height:
            if self._sink.rows == PART_ROWS:
                self._finish()
                self._open_next()
            space = PART_ROWS - self._sink.rows
            self._sink.write(frame.head(space))
            frame = frame.slice(space)

    def _finish(self) -> None:
        self._sink.close()
        self._digests.append(self._sink.content.hexdigest())
        self.rows_by_part[self._name] = self._sink.rows

    def digest(self) -> str:
        """Digest of the logical content of all parts, once the writer was left."""
        return digest_value(self._digests)

    @property
    def rows(self) -> int:
        """Rows in finished parts."""
        return sum(self.rows_by_part.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        else:
            self._sink.__exit__(kind, error, trace)
