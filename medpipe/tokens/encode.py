"""Texts to token ids: bounded batches, all cores, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from medpipe.tokens.engine import Engine, audit

BATCH_BYTES = 2_000_000
"""Text that is encoded at once; a longer document is a batch of its own."""

Tokens = npt.NDArray[np.uint16 | np.int32]


@dataclass(frozen=True)
class EncodedDocument:
    """One document as token ids."""

    id: str
    lang: str
    split: str
    tier: str
    text_bytes: int
    """UTF-8 bytes of the text."""
    tokens: Tokens
    """Ids with `<eos>` at the end; shape (length,), the shard's dtype."""


@dataclass(frozen=True)
class EncodedBatch:
    """Some documents as token ids, one after the other."""

    documents: pl.DataFrame
    """The columns that came in beside `text`, and `text_bytes`."""
    tokens: Tokens
    """Ids, `<eos>` behind each document; shape (sum of lengths,)."""
    lengths: npt.NDArray[np.int64]
    """Ids of each document; shape (documents,)."""

    def filter(self, mask: npt.NDArray[np.bool_]) -> Self:
        """Only some of the documents."""
        if mask.all():
            return self
        tokens = self.tokens[np.repeat(mask, self.lengths)]
        return type(self)(self.documents.filter(pl.Series(mask)), tokens, self.lengths[mask])

    def slice(self, start: int, stop: int) -> Self:
        """The documents from `start` up to `stop`."""
        first, behind = int(self.lengths[:start].sum()), int(self.lengths[:stop].sum())
        documents = self.documents.slice(start, stop - start)
        return type(self)(documents, self.tokens[first:behind], self.lengths[start:stop])


def worker_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def encode_batches(
    batches: Iterable[pl.DataFrame],
    engine: Engine,
    reference: Engine,
    *,
    dtype: str,
    eos_id: int,
    vocabulary_size: int,
    workers: int | None = None,
) -> Iterator[EncodedBatch]:
    """Encodes frames in order, `BATCH_BYTES` or so of text at a time in each of some threads.

    At most `workers + 1` groups of text are in memory: a reader that is faster than the encoder waits.

    Args:
        batches: frames with a column `text`, and others that are passed on.
        engine: encodes.
        reference: encodes a piece of every group again; see `audit`.
        dtype: `uint16` or `int32`.
        eos_id: appended to each document.
        vocabulary_size: every id is below it.
        workers: threads; the cores there are if unset. The ids do not depend on it.

    Raises:
        ShardError: an id does not fit the dtype or the vocabulary.
        EngineError: the engine and the reference differ.
    """

    def encode(number: int, group: pl.DataFrame) -> EncodedBatch:
        texts = group["text"]
        audit(engine, reference, texts, vocabulary_size=vocabulary_size, number=number)
        tokens, lengths = engine.encode(texts, eos_id=eos_id, dtype=dtype, vocabulary_size=vocabulary_size)
        return EncodedBatch(group.drop("text"), tokens, lengths)

    groups = (group for batch in batches for group in cut_groups(batch))
    count = workers or worker_count()
    waiting: deque[Future[EncodedBatch]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="encode") as pool:
        try:
            for number, group in enumerate(groups):
                waiting.append(pool.submit(encode, number, group))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cut_groups(batch: pl.DataFrame) -> list[pl.DataFrame]:
    """Cuts a frame so that a group's text has at most twice `BATCH_BYTES`, or is one longer document.

    Adds `text_bytes`, the UTF-8 bytes of each text.
    """
    sized = batch.with_columns(text_bytes=pl.col("text").str.len_bytes().cast(pl.Int64))
    before = pl.col("text_bytes").cum_sum() - pl.col("text_bytes")
    return sized.with_columns(group=before // BATCH_BYTES).partition_by(
        "group", maintain_order=True, include_key=False
    )
