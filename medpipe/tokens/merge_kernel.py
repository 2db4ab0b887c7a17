"""The merges of byte-level BPE, compiled.

Of a sequence of ids the pair of the lowest rank is merged, the leftmost first, until no two neighbours have a
rank: Sennrich et al. 2016 in the way of `tokenizers`, where a merge belongs to a pair of ids and not to the
string that comes of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medpipe.records.utf8 import compiled

NO_PAIR = np.int64(2**63 - 1)
EMPTY = np.int64(-1)
_HALF = np.int64(0xFFFF_FFFF)
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
"""Unsigned: for a signed index numba asks each time whether it counts from the end."""

Ids = NDArray[np.int64]


@compiled
def find_pair(pairs: Ids, shift: np.uint64, left: np.int64, right: np.int64) -> np.int64:
    """Rank (upper half) and product (lower half) of a pair of ids, or `NO_PAIR`.

    Args:
        pairs: open addressing; key and value in turns, `EMPTY` where there is no key.
        shift: 64 less the binary logarithm of the number of places.
        left: id, below 2**31.
        right: id, below 2**31.
    """
    key = left << np.int64(32) | right
    place = np.uint64(key) * _SPREAD >> shift
    last = np.uint64(len(pairs) // 2 - 1)
    while True:
        found = pairs[place << _ONE]
        if found == key:
            return np.int64(pairs[(place << _ONE) | _ONE])
        if found == EMPTY:
            return NO_PAIR
        place = (place + _ONE) & last


@compiled
def fill_pairs(pairs: Ids, shift: np.uint64, left: Ids, right: Ids, product: Ids) -> None:
    """Enters pairs in the order of their rank."""
    last = np.uint64(len(pairs) // 2 - 1)
    for rank in range(len(left)):
        key = left[rank] << np.int64(32) | right[rank]
        place = np.uint64(key) * _SPREAD >> shift
        while pairs[place << _ONE] != EMPTY and pairs[place << _ONE] != key:
            place = (place + _ONE) & last
        pairs[place << _ONE] = key
        pairs[(place << _ONE) | _ONE] = np.int64(rank) << np.int64(32) | product[rank]


@compiled
def merge_short(pairs: Ids, shift: np.uint64, ids: Ids, values: Ids, count: np.int64) -> np.int64:
    """Merges `ids[:count]` in place; returns how many are left."""
    last = np.uint64(count) - _ONE
    at = _ZERO
    while at < last:
        values[at] = find_pair(pairs, shift, ids[at], ids[at + _ONE])
        at += _ONE
    while last > _ZERO:
        best, place, at = NO_PAIR, _ZERO, _ZERO
        while at < last:
            if values[at] < best:
                best, place = values[at], at
            at += _ONE
        if best == NO_PAIR:
            break
        ids[place] = best & _HALF
        at = place + _ONE
        while at < last:
            ids[at] = ids[at + _ONE]
            values[at] = values[at + _ONE]
            at += _ONE
        last -= _ONE
        if place < last:
            values[place] = find_pair(pairs, shift, ids[place], ids[place + _ONE])
        if place > _ZERO:
            values[place - _ONE] = find_pair(pairs, shift, ids[place - _ONE], ids[place])
    return np.int64(last) + np.int64(1)


@compiled
def _push(heap: Ids, size: int, item: np.int64) -> int:
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if heap[above] <= item:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = item
    return size + 1


@compiled
def _pop(heap: Ids, size: int) -> int:
    """Drops the smallest item, which the caller has read from `heap[0]`."""
    size -= 1
    item = heap[size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= item:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = item
    return size


@compiled
def merge_long(pairs: Ids, shift: np.uint64, ids: NDArray[np.int32]) -> Ids:
    """The same for a long piece, in n log n steps and some 40 bytes of memory a symbol."""
    count = len(ids)
    after = np.empty(count, np.int32)
    before = np.empty(count, np.int32)
    ranks = np.full(count, np.int32(-1), np.int32)
    heap = np.empty(2 * count, np.int64)
    size = 0
    for at in range(count):
        after[at], before[at] = at + 1, at - 1
    for at in range(count - 1):
        value = find_pair(pairs, shift, np.int64(ids[at]), np.int64(ids[at + 1]))
        if value != NO_PAIR:
            ranks[at] = value >> 32
            size = _push(heap, size, (value >> 32) << 32 | at)
    left = count
    while size:
        rank, at = heap[0] >> 32, heap[0] & _HALF
        size = _pop(heap, size)
        if ranks[at] != rank:  # one of the two has been merged otherwise since
            continue
        gone = np.int64(after[at])
        value = find_pair(pairs, shift, np.int64(ids[at]), np.int64(ids[gone]))
        ids[at] = value & _HALF
        ranks[gone] = -1
        after[at] = after[gone]
        left -= 1
        ranks[at] = -1
        if after[at] < count:
            before[after[at]] = at
            value = find_pair(pairs, shift, np.int64(ids[at]), np.int64(ids[after[at]]))
            if value != NO_PAIR:
                ranks[at] = value >> 32
                size = _push(heap, size, (value >> 32) << 32 | at)
        ahead = np.int64(before[at])
        if ahead >= 0:
            value = find_pair(pairs, shift, np.int64(ids[ahead]), np.int64(ids[at]))
            ranks[ahead] = -1
            if value != NO_PAIR:
                ranks[ahead] = value >> 32
                size = _push(heap, size, (value >> 32) << 32 | ahead)
    merged = np.empty(left, np.int64)
    at = 0
    for place in range(left):
        merged[place] = ids[at]
        at = after[at]
    return merged


@compiled
def rank_characters(
    pairs: Ids, shift: np.uint64, byte_ids: Ids, data: NDArray[np.uint8], offsets: Ids, whole: Ids, ranks: Ids
) -> None:
    """Merges each row by itself.

    Args:
        pairs: see `find_pair`.
        shift: see `find_pair`.
        byte_ids: id of each byte.
        data: UTF-8 bytes.
        offsets: one character a row.
        whole: takes the id that a row becomes, -1 where it stays more than one.
        ranks: takes the highest rank among the merges that make it.
    """
    ids, values = np.empty(8, np.int64), np.empty(8, np.int64)
    for row in range(len(offsets) - 1):
        size = offsets[row + 1] - offsets[row]
        for at in range(size):
            ids[at] = byte_ids[data[offsets[row] + at]]
        highest = np.int64(-1)
        while size > 1:
            best, place = NO_PAIR, 0
            for at in range(size - 1):
                values[at] = find_pair(pairs, shift, ids[at], ids[at + 1])
                if values[at] < best:
                    best, place = values[at], at
            if best == NO_PAIR:
                break
            highest = max(highest, best >> 32)
            ids[place] = best & _HALF
            size -= 1
            for at in range(place + 1, size):
                ids[at] = ids[at + 1]
        whole[row] = ids[0] if size == 1 else -1
        ranks[row] = highest
