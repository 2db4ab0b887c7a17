"""Which integer type holds the ids of a vocabulary, and the checked way into it."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

UINT16_LARGEST = 65_535

Ids = npt.NDArray[np.int64]


class ShardError(ValueError):
    """Token files cannot be written or read as they are; the message names the file and the fix."""


def dtype_of(vocabulary_size: int) -> str:
    """`uint16` where the largest id is at most 65,535, else `int32`."""
    return "uint16" if vocabulary_size - 1 <= UINT16_LARGEST else "int32"


def stored_dtype(name: str) -> np.dtype[np.uint16 | np.int32]:
    """The little-endian NumPy type of a dtype name.

    Raises:
        ShardError: shards have no such type.
    """
    types: dict[str, np.dtype[np.uint16 | np.int32]] = {
        "uint16": np.dtype("<u2"),
        "int32": np.dtype("<i4"),
    }
    if name not in types:
        raise ShardError(f"shards are uint16 or int32, not {name!r}; materialise the shards again")
    return types[name]


def checked_cast(ids: Ids, dtype: str, *, vocabulary_size: int) -> npt.NDArray[np.uint16 | np.int32]:
    """Casts ids after looking at every one of them: nothing wraps around.

    Args:
        ids: int64, any shape.
        dtype: `uint16` or `int32`.
        vocabulary_size: every id must be below it.

    Raises:
        ShardError: an id is negative, outside the vocabulary or outside the type.
    """
    target = stored_dtype(dtype)
    if ids.size:
        smallest, largest = int(ids.min()), int(ids.max())
        limit = min(vocabulary_size - 1, int(np.iinfo(target).max))
        if smallest < 0 or largest > limit:
            wrong = smallest if smallest < 0 else largest
            raise ShardError(
                f"token id {wrong:,} does not fit {dtype} with a vocabulary of {vocabulary_size:,}; "
                "the tokenizer and its manifest disagree: train or import it again"
            )
    return ids.astype(target)


def byte_characters() -> list[str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's `bytes_to_unicode`)."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(256)
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]
