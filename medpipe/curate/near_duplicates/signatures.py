"""MinHash signatures of texts, one byte a value.

The digest is rensa's R-MinHash over 64-bit shingle hashes. Of each of its 32-bit values eight mixed bits are
kept (b-bit minwise hashing: Li and König, 2010): two values agree by chance once in 256 times, and a
document takes 60 bytes, on disk and in memory.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.near_duplicates.config import PERMUTATIONS, SEED, NearDuplicateConfig
from medpipe.curate.near_duplicates.shingles import Shingles, hash_shingles

Signatures = NDArray[np.uint8]

_PIECE_BYTES = 1_000_000
"""Text hashed at a time."""
_CALL_ROWS = 256
"""Rows digested at a time. They come back as lists, and so few are gone before Python's garbage collector
has looked at them twice: with thousands it takes longer than the digests."""
_ROW_HASHES = 1 << 14
"""A longer document is digested in parts: the minimum over all is the minimum of the parts' minima."""
_FACTOR, _SHIFT = np.uint32(0x9E3779B1), np.uint32(24)


def compute_signatures(
    texts: pl.Series,
    langs: pl.Series,
    *,
    config: NearDuplicateConfig = NearDuplicateConfig(),  # noqa: B008
) -> Signatures:
    """Computes the signature of each text.

    The result depends on each row alone, however the rows are batched.

    Args:
        texts: String; may hold nulls.
        langs: `zh`, `en` or `other`, row-aligned.
        config: n of the n-grams.

    Returns:
        One row of 60 bytes a text; zeros for a text without letters and digits, which matches nothing.
    """
    found = np.zeros((len(texts), PERMUTATIONS), np.uint8)
    for start, count in pieces(texts):
        shingles = hash_shingles(texts.slice(start, count), langs.slice(start, count), config=config)
        has_any = np.diff(shingles.ends) > 0
        if has_any.any():
            found[start : start + count][has_any] = _digest(shingles)
    return found


def pieces(texts: pl.Series, *, limit: int = _PIECE_BYTES) -> Iterator[tuple[int, int]]:
    """Start and number of rows of pieces of at most so many bytes, or of one long row."""
    sizes = texts.str.len_bytes().fill_null(0).to_numpy()
    ends = np.cumsum(sizes, dtype=np.int64)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield start, end - start
        start = end


def _digest(shingles: Shingles) -> Signatures:
    """Signatures of the rows that have shingles."""
    counts = np.diff(shingles.ends)
    counts = counts[counts > 0]
    parts = -(-counts // _ROW_HASHES)
    firsts = np.cumsum(parts) - parts
    within = np.arange(int(parts.sum())) - np.repeat(firsts, parts)
    starts = np.repeat(np.cumsum(counts) - counts, parts) + within * _ROW_HASHES
    offsets = np.append(starts, len(shingles.hashes)).astype(np.uint64)
    values = _minima(shingles.hashes, offsets)
    if len(parts) < len(starts):
        values = np.minimum.reduceat(values, firsts, axis=0)
    return (values * _FACTOR >> _SHIFT).astype(np.uint8)


def _minima(hashes: NDArray[np.uint64], offsets: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Digests by rensa; row `n` is that of `hashes[offsets[n]:offsets[n + 1]]`."""
    # Imported here: definitions reach this module and must load fast.
    import rensa

    digest = rensa.RMinHash.digest_matrix_from_flat_token_hashes
    values = array.array("I")
    for start in range(0, len(offsets) - 1, _CALL_ROWS):
        bounds = offsets[start : start + _CALL_ROWS + 1]
        matrix = digest(hashes[bounds[0] : bounds[-1]], bounds - bounds[0], PERMUTATIONS, SEED)
        values.extend(itertools.chain.from_iterable(matrix.to_rows()))
    return np.frombuffer(values, np.uint32).reshape(-1, PERMUTATIONS)
