"""Encodes the documents of one source into the shards of a work folder, behind what is finished there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from medpipe.tokens.encode import BATCH_ROWS, EncodedBatch, encode_batches
from medpipe.tokens.engine import Engine
from medpipe.tokens.progress import Progress
from medpipe.tokens.vocabulary import dtype_of
from medpipe.tokens.workfolder import Key, WorkFolder, waiting_name
from medpipe.tokens.writer import ShardWriter


@dataclass(frozen=True)
class SourceText:
    """The documents of one source and domain, and how they become shards."""

    records: pl.LazyFrame
    """Columns `id`, `lang`, `split`, `tier`, `text`, all String."""
    source: str
    label: str
    """Stands before each line of news."""
    total_bytes: int | None
    """UTF-8 bytes of all texts, where known."""
    vocabulary_size: int
    eos_id: int
    limit: int
    """Most tokens of a shard."""

    @property
    def dtype(self) -> str:
        """`uint16` or `int32`."""
        return dtype_of(self.vocabulary_size)


def fill_work_folder(
    text: SourceText,
    engine: Engine,
    reference: Engine,
    work: WorkFolder,
    *,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Writes every shard that the work folder lacks; each holds documents of one split and one tier.

    A kill loses the shards that are being written: one a split and tier.

    Raises:
        ShardError: an id does not fit the dtype or the vocabulary.
        EngineError: the engine and the reference differ.
    """
    there = sum(each.shard.text_bytes for each in work.finished)
    news = Progress(progress, text.label, total_bytes=text.total_bytes and text.total_bytes - there)
    shards = _OpenShards(work, text)
    try:
        for batch in encode_batches(
            _unfinished(text.records, work.done()),
            engine,
            reference,
            dtype=text.dtype,
            eos_id=text.eos_id,
            vocabulary_size=text.vocabulary_size,
            workers=workers,
        ):
            keys = batch.documents.select("split", "tier")
            for split, tier in keys.unique(maintain_order=True).iter_rows():
                mask = keys.select((pl.col("split") == split) & (pl.col("tier") == tier)).to_series()
                shards.append((split, tier), batch.filter(mask.to_numpy()))
            news.add(batch.documents.height, int(batch.documents["text_bytes"].sum()))
        shards.finish_all()
    finally:
        shards.abort()
    news.finish()


def _unfinished(records: pl.LazyFrame, done: Counter[Key]) -> Iterator[pl.DataFrame]:
    """The documents that are in no finished shard, each with its place `row` among all of the source."""
    left, rows = Counter(done), 0
    for batch in records.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        numbered = batch.with_row_index("row", offset=rows)
        rows += batch.height
        if left.total():
            limits = pl.DataFrame(
                [(*key, count) for key, count in left.items()],
                schema=["split", "tier", "limit"],
                orient="row",
            )
            placed = numbered.with_columns(place=pl.int_range(pl.len()).over("split", "tier"))
            joined = placed.join(limits, on=["split", "tier"], how="left", maintain_order="left")
            for split, tier, count in batch.group_by("split", "tier").len().iter_rows():
                left[split, tier] = max(0, left[split, tier] - count)
            numbered = joined.filter(pl.col("place") >= pl.col("limit").fill_null(0)).drop("place", "limit")
        if numbered.height:
            yield numbered


class _OpenShards:
    """The shards that are being written, one a split and tier."""

    def __init__(self, work: WorkFolder, text: SourceText) -> None:
        self._work, self._text = work, text
        self._open: dict[Key, tuple[int, ShardWriter]] = {}

    def append(self, key: Key, batch: EncodedBatch) -> None:
        """Appends documents of one split and tier; closes a shard before one that does not fit."""
        start = 0
        while start < len(batch.lengths):
            if key not in self._open:
                self._open[key] = self._start(key, int(batch.documents["row"][start]))
            writer = self._open[key][1]
            fitting = writer.room_for(batch.lengths[start:], self._text.limit)
            if fitting:
                writer.extend(batch.slice(start, start + fitting))
                start += fitting
            else:
                self._finish(key)

    def finish_all(self) -> None:
        """Closes the last shards."""
        for key in list(self._open):
            self._finish(key)

    def abort(self) -> None:
        """Closes the files of shards that will not be finished."""
        for _, writer in self._open.values():
            writer.abort()

    def _start(self, key: Key, row: int) -> tuple[int, ShardWriter]:
        writer = ShardWriter(
            self._work.path,
            waiting_name(row),
            split=key[0],
            tier=key[1],
            source=self._text.source,
            dtype=self._text.dtype,
        )
        return row, writer

    def _finish(self, key: Key) -> None:
        row, writer = self._open[key]
        shard = writer.close()
        del self._open[key]
        self._work.add(row, shard)
