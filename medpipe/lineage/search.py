"""Finds records in normalized data: by id, by content key, by a passage of their text."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polars as pl

from medpipe.catalog.source import Source
from medpipe.lineage.passages import matching_rows
from medpipe.normalize.templates import render_conversations
from medpipe.records.keys import joined_content
from medpipe.records.kinds import Kind

BATCH_ROWS = 8192
SILENT_SECONDS = 2.0
HEAD_CHARACTERS = 120

Progress = Callable[[str], None]
Files = Mapping[str, tuple[list[Path], Kind]]
"""The Parquet files of each source's records, in order, and their kind."""

_PROVENANCE = ("id", "source", "revision", "path", "row", "part", "content_key", "split", "lang", "domain")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record and where it comes from."""

    id: str
    source: str
    kind: str
    revision: str
    path: str
    """File within the raw snapshot."""
    row: int
    part: int
    content_key: str
    split: str
    """Where its publisher put it."""
    lang: str
    domain: str
    head: str
    """Beginning of its text."""
    how: str | None = None
    """Of a passage: `exact` or `folded`."""

    @property
    def place(self) -> tuple[str, str, int, int]:
        """Source, file, row and part."""
        return self.source, self.path, self.row, self.part


@dataclass(frozen=True)
class Found:
    """The first records that hold a passage, and how many there are."""

    records: tuple[Record, ...]
    total: int


def find_passage(
    files: Files,
    sources: Mapping[str, Source],
    passage: str,
    *,
    limit: int,
    progress: Progress | None = None,
) -> Found:
    """The records whose text holds a passage; see `matching_rows` for what that means.

    A conversation is searched as its source's template renders it, a preference or an exam item as all its
    texts in order. Records are read in batches; only the first `limit` matches are held.

    Args:
        files: by source id.
        sources: catalog entries by id, for templates.
        passage: what is looked for.
        limit: most records to return.
        progress: takes a line about every second, once the search takes longer than two.
    """
    said = _Said(progress)
    found: list[Record] = []
    total = 0
    for source_id, (parts, kind) in files.items():
        for published in _batches(parts):
            batch = _with_text(published.lazy(), kind, sources.get(source_id)).collect()
            matches = matching_rows(batch["text"], passage)
            total += matches.height
            if len(found) < limit:
                first = matches.head(limit - len(found))
                rows = batch[first["row"]].with_columns(first["how"])
                found += _records(rows, kind)
            said.after(batch.height, source_id, total)
    return Found(tuple(found), total)


def find_records(
    files: Files, *, ids: Collection[str] = (), content_keys: Collection[str] = ()
) -> list[Record]:
    """All records with one of some ids or content keys, in the order of the mapping and of publication.

    Only the columns that are asked about are read, but for the records that are found.
    """
    import pyarrow.parquet as pq

    found: list[Record] = []
    named = pl.col("id").is_in(list(ids)) | pl.col("content_key").is_in(list(content_keys))
    for parts, kind in files.values():
        for path in parts:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for group in range(file.num_row_groups):
                    keys = file.read_row_group(group, columns=["id", "content_key"], use_threads=False)
                    if cast(pl.DataFrame, pl.from_arrow(keys)).filter(named).height:
                        rows = cast(
                            pl.DataFrame, pl.from_arrow(file.read_row_group(group, use_threads=False))
                        )
                        found += _records(_with_text(rows.lazy().filter(named), kind, None).collect(), kind)
    return found


def _batches(parts: list[Path]) -> Iterator[pl.DataFrame]:
    """All rows in frames of bounded size; read by one thread, since Polars reads ahead as far as it can."""
    import pyarrow.parquet as pq

    for path in parts:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
                yield cast(pl.DataFrame, pl.from_arrow(batch))


def _with_text(frame: pl.LazyFrame, kind: Kind, source: Source | None) -> pl.LazyFrame:
    if kind is Kind.CONVERSATION and source is not None:
        frame = render_conversations(frame, source.template)
    elif kind is not Kind.DOCUMENT:
        frame = frame.with_columns(text=joined_content(kind))
    if kind in (Kind.CONVERSATION, Kind.PREFERENCE):  # the system prompt is no part of either
        frame = frame.with_columns(text=pl.concat_str("system", "text", separator="\n", ignore_nulls=True))
    return frame.select(
        *(pl.col(name).cast(pl.String) if name not in ("row", "part") else name for name in _PROVENANCE),
        "text",
    )


def _records(rows: pl.DataFrame, kind: Kind) -> Iterator[Record]:
    how = pl.col("how") if "how" in rows.columns else pl.lit(None, dtype=pl.String).alias("how")
    columns = rows.select(*_PROVENANCE, how, head=pl.col("text").str.head(HEAD_CHARACTERS))
    return (Record(kind=kind.value, **row) for row in columns.iter_rows(named=True))


class _Said:
    """Says how far a search is, about once a second after the first two."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._started = self._last = time.monotonic()
        self._rows = 0

    def after(self, rows: int, source: str, total: int) -> None:
        self._rows += rows
        now = time.monotonic()
        seconds = now - self._started
        if self._progress is None or seconds < SILENT_SECONDS or now - self._last < 1:
            return
        self._last = now
        rate = f"{self._rows / seconds:,.0f} a second"
        self._progress(f"{source}: {self._rows:,} records searched, {rate}, {total:,} found")
