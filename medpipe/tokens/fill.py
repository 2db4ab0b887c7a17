"""Encodes the documents of one source into the shards of a work folder, behind what is finished there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from medpipe.tokens.cuts import Chunk, ChunkCutter, Key
from medpipe.tokens.documents import DocumentReader
from medpipe.tokens.encode import EncodedBatch, encode_batches
from medpipe.tokens.engine import Engine
from medpipe.tokens.progress import Progress
from medpipe.tokens.vocabulary import dtype_of
from medpipe.tokens.workfolder import WorkFolder, waiting_name
from medpipe.tokens.writer import ShardWriter


@dataclass(frozen=True)
class SourceText:
    """The documents of one source and domain, and how they become shards."""

    reader: DocumentReader
    source: str
    label: str
    """Stands before each line of news."""
    total_bytes: int | None
    """UTF-8 bytes of all texts, where known."""
    vocabulary_size: int
    eos_id: int
    limit: int
    """Most tokens of a shard."""
    least: int
    """Text bytes of a chunk, at least."""

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
    chunks: list[Chunk] | None = None,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Chunk]:
    """Writes every shard that the work folder lacks; each holds documents of one chunk.

    A kill loses the shards that are being written: one a split and tier.

    Args:
        text: what is encoded.
        engine: encodes.
        reference: what the engine must agree with.
        work: where finished shards are, and where new ones come.
        chunks: those of the text, where they are known already: their digests are not computed again.
        workers: threads that encode.
        progress: takes news.

    Returns:
        All chunks of the text.

    Raises:
        ShardError: an id does not fit the dtype or the vocabulary.
        EngineError: the engine and the reference differ.
    """
    there = sum(each.shard.text_bytes for each in work.finished)
    news = Progress(progress, text.label, total_bytes=text.total_bytes and text.total_bytes - there)
    cutter = ChunkCutter(text.least, digesting=chunks is None)
    shards = _OpenShards(work, text)
    try:
        for batch in encode_batches(
            _unfinished(text.reader, cutter, work),
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
    return cutter.finish() if chunks is None else chunks


def _unfinished(reader: DocumentReader, cutter: ChunkCutter, work: WorkFolder) -> Iterator[pl.DataFrame]:
    """The documents that are in no finished shard, each with its chunk."""
    done = work.done()
    finished = pl.DataFrame(
        {"chunk": list(done), "done": list(done.values())}, schema=dict.fromkeys(("chunk", "done"), pl.Int64)
    )
    for batch in reader.batches():
        placed = cutter.cut(batch)
        if done:
            joined = placed.join(finished, on="chunk", how="left", maintain_order="left")
            placed = joined.filter(pl.col("place") >= pl.col("done").fill_null(0)).drop("done")
        if placed.height:
            yield placed.drop("place")


class _OpenShards:
    """The shards that are being written, one a split and tier."""

    def __init__(self, work: WorkFolder, text: SourceText) -> None:
        self._work, self._text = work, text
        self._open: dict[Key, tuple[int, ShardWriter]] = {}

    def append(self, key: Key, batch: EncodedBatch) -> None:
        """Appends documents of one split and tier.

        A shard is closed before a document of another chunk, and before one that does not fit. Tokens are
        counted here, since no bound on them that is known before holds for every tokenizer.
        """
        chunks = batch.documents["chunk"].to_numpy()
        start = 0
        while start < len(chunks):
            chunk = int(chunks[start])
            if key in self._open and self._open[key][0] != chunk:
                self._finish(key)
            if key not in self._open:
                self._open[key] = chunk, self._start(key, chunk)
            behind = start + int(np.searchsorted(chunks[start:], chunk, side="right"))
            writer = self._open[key][1]
            fitting = writer.room_for(batch.lengths[start:behind], self._text.limit)
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

    def _start(self, key: Key, chunk: int) -> ShardWriter:
        return ShardWriter(
            self._work.path,
            waiting_name(chunk, self._work.pieces()[chunk]),
            split=key[0],
            tier=key[1],
            source=self._text.source,
            dtype=self._text.dtype,
        )

    def _finish(self, key: Key) -> None:
        chunk, writer = self._open[key]
        shard = writer.close()
        del self._open[key]
        self._work.add(chunk, shard)
