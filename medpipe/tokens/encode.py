"""Texts to token ids in bounded batches, on all cores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
import numpy.typing as npt
import polars as pl
from tokenizers import Tokenizer

from medpipe.tokens.vocabulary import checked_cast

BATCH_ROWS = 2048
"""Most documents that are encoded at once."""
BATCH_BYTES = 2_000_000
"""Text that is encoded at once; a longer document is a batch of its own."""


@dataclass(frozen=True)
class EncodedDocument:
    """One document as token ids."""

    id: str
    lang: str
    split: str
    tier: str
    text_bytes: int
    """UTF-8 bytes of the text."""
    tokens: npt.NDArray[np.uint16 | np.int32]
    """Ids with `<eos>` at the end; shape (length,), the shard's dtype."""


def encode_documents(
    batch: pl.DataFrame, tokenizer: Tokenizer, *, dtype: str, eos_id: int, vocabulary_size: int
) -> Iterator[list[EncodedDocument]]:
    """Encodes the rows of a frame in order, `BATCH_BYTES` or so of text at a time.

    Args:
        batch: columns `id`, `lang`, `split`, `tier`, `text`.
        tokenizer: as `load_tokenizer` gives it.
        dtype: `uint16` or `int32`.
        eos_id: appended to each document.
        vocabulary_size: every id is below it.

    Raises:
        ShardError: an id does not fit the dtype or the vocabulary.
    """
    for group in _groups(batch):
        encodings = tokenizer.encode_batch_fast(group["text"].to_list(), add_special_tokens=False)
        ids = [[*encoding.ids, eos_id] for encoding in encodings]
        ends = list(accumulate(len(each) for each in ids))
        wide = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=ends[-1])
        tokens = checked_cast(wide, dtype, vocabulary_size=vocabulary_size)
        described = group.select("id", "lang", "split", "tier", "size").iter_rows()
        yield [
            EncodedDocument(document_id, lang, split, tier, size, tokens[start:end])
            for (document_id, lang, split, tier, size), start, end in zip(
                described, [0, *ends[:-1]], ends, strict=True
            )
        ]


def _groups(batch: pl.DataFrame) -> list[pl.DataFrame]:
    """Cuts a frame so that a group's text has at most twice `BATCH_BYTES`, or is one longer document."""
    sized = batch.with_columns(size=pl.col("text").str.len_bytes().cast(pl.Int64))
    return sized.with_columns(group=(pl.col("size").cum_sum() - pl.col("size")) // BATCH_BYTES).partition_by(
        "group", maintain_order=True, include_key=False
    )
