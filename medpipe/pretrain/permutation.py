"""Permutations that depend on a key alone, the same on every machine and in every version."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_WORDS = npt.NDArray[np.uint64]


def seeded_permutation(length: int, *key: object) -> Integers:
    """Permutation of `range(length)` that depends on the key alone.

    It sorts the raw output of the Philox counter-based generator, which NumPy keeps stable over versions
    (its shuffles are not).
    """
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=16).digest()
    raw = np.random.Philox(key=np.frombuffer(digest, dtype="<u8")).random_raw(length)
    return stable_order(raw)


def stable_order(words: _WORDS) -> Integers:
    """`np.argsort(words, kind="stable")` of evenly spread words, ten times as fast for millions of them.

    Each word's low bits make room for its index, so that the words themselves are sorted, which processors
    do many at a time. Where the bits that are left are equal, the whole words decide afterwards.
    """
    bits = max(len(words) - 1, 1).bit_length()
    low = np.uint64((1 << bits) - 1)
    packed = words & ~low
    packed |= np.arange(len(words), dtype=np.uint64)
    packed.sort()
    order = (packed & low).astype(np.int64)
    packed >>= np.uint64(bits)
    like_next = packed[1:] == packed[:-1]
    if like_next.any():
        tied = np.zeros(len(words), dtype=bool)
        tied[1:] |= like_next
        tied[:-1] |= like_next
        # Runs of equal high bits lie in rising order already, and so do the indices within each.
        among = order[tied]
        order[tied] = among[np.argsort(words[among], kind="stable")]
    return order
