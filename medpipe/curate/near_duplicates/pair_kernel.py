"""Compiled loops over signatures: union-find, comparing the members of buckets, similarity of sketches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medpipe.curate.mixing import mix
from medpipe.records.utf8 import compiled

_BYTE_BITS = np.uint64(8)
_NOTHING = np.uint64(0)

_Bytes = NDArray[np.uint8]
_Parents = NDArray[Any]


@compiled
def find(parents: _Parents, member: int) -> int:
    """The root of a member's tree, which is its smallest member; halves the path on the way."""
    while parents[member] != member:
        parents[member] = parents[parents[member]]
        member = parents[member]
    return member


@compiled
def unite(parents: _Parents, one: int, other: int) -> None:
    """Makes one tree of two; the smaller root stays, so that the order of unions does not matter."""
    one, other = find(parents, one), find(parents, other)
    if one < other:
        parents[other] = one
    else:
        parents[one] = other


@compiled
def roots(parents: _Parents) -> None:
    """Makes every member point to its root."""
    for member in range(len(parents)):
        parents[member] = parents[parents[member]]


@compiled
def unite_pairs(parents: _Parents, pairs: NDArray[np.int64]) -> None:
    """Makes one tree of the trees of each pair."""
    for row in range(len(pairs)):
        unite(parents, pairs[row, 0], pairs[row, 1])


@compiled
def still_apart(parents: _Parents, pairs: NDArray[np.int64], keep: NDArray[np.bool_]) -> None:
    """Marks the pairs whose members are in different trees."""
    for row in range(len(pairs)):
        keep[row] = find(parents, pairs[row, 0]) != find(parents, pairs[row, 1])


@compiled
def band_keys(signatures: _Bytes, first: int, rows: int, keys: NDArray[np.uint64]) -> None:
    """Writes the bytes of one band as a number; behind the last column comes the first."""
    width = signatures.shape[1]
    for row in range(len(signatures)):
        key = _NOTHING
        for column in range(first, first + rows):
            key = key << _BYTE_BITS | np.uint64(signatures[row, column % width])
        keys[row] = key


@compiled
def hash_signatures(signatures: _Bytes, hashes: NDArray[np.uint64]) -> None:
    """Hashes whole signatures: an order of documents that does not depend on where they stand."""
    for row in range(len(signatures)):
        value = word = _NOTHING
        for column in range(signatures.shape[1]):
            word = word << _BYTE_BITS | np.uint64(signatures[row, column])
            if column & 7 == 7:
                value, word = mix(value ^ word), _NOTHING
        hashes[row] = mix(value ^ word)


@compiled
def unite_neighbours(parents: _Parents, members: NDArray[np.int64], is_new: NDArray[np.bool_]) -> None:
    """Unites each member with the one before it unless it is new."""
    for at in range(1, len(members)):
        if not is_new[at]:
            unite(parents, members[at - 1], members[at])


@compiled
def _equal_values(signatures: _Bytes, one: int, other: int) -> int:
    equal = 0
    for column in range(signatures.shape[1]):
        equal += signatures[one, column] == signatures[other, column]
    return equal


@compiled
def _share_earlier_band(signatures: _Bytes, one: int, other: int, first: int, rows: int) -> bool:
    for start in range(0, first, rows):
        is_equal = True
        for column in range(start, start + rows):
            if signatures[one, column] != signatures[other, column]:
                is_equal = False
                break
        if is_equal:
            return True
    return False


@compiled
def compare_buckets(
    signatures: _Bytes,
    members: NDArray[np.int64],
    buckets: NDArray[np.int64],
    start: int,
    first: int,
    rows: int,
    window: int,
    low: int,
    high: int,
    parents: _Parents,
    pairs: NDArray[np.int64],
) -> tuple[int, int]:
    """Compares each member of a bucket with those before it.

    Pairs that agree in `high` values or more are united; pairs that agree in `low` or more are written out,
    once: in the first band that they share.

    Args:
        signatures: of all documents.
        members: documents, bucket by bucket.
        buckets: for each of them, where its bucket starts.
        start: the member to start with.
        first: the band's first column.
        rows: the band's columns.
        window: each member is compared with so many before it.
        low: least number of equal values of a pair worth comparing.
        high: least number of equal values of a pair that is accepted.
        parents: the trees.
        pairs: takes pairs, the smaller member first; has room for more than `window`.

    Returns:
        The member to go on with, all of them once it is their number; and the number of pairs written.
    """
    written = 0
    for at in range(start, len(members)):
        if written + window > len(pairs):
            return at, written
        one = members[at]
        for before in range(at - 1, max(buckets[at], at - window) - 1, -1):
            other = members[before]
            equal = _equal_values(signatures, one, other)
            if equal < low or find(parents, one) == find(parents, other):
                continue
            if equal >= high:
                unite(parents, one, other)
            elif not _share_earlier_band(signatures, one, other, first, rows):
                pairs[written, 0] = min(one, other)
                pairs[written, 1] = max(one, other)
                written += 1
    return len(members), written


@compiled
def smallest_hashes(
    hashes: NDArray[np.uint64],
    ends: NDArray[np.int64],
    most: int,
    kept: NDArray[np.uint32],
    kept_ends: NDArray[np.int64],
) -> None:
    """Writes the upper halves of each row's hashes, distinct, in order, the smallest `most` of them."""
    at = 0
    for row in range(len(ends) - 1):
        values = np.sort(hashes[ends[row] : ends[row + 1]] >> np.uint64(32))
        begin = at
        for value in values:
            if at - begin == most:
                break
            if at == begin or kept[at - 1] != np.uint32(value):
                kept[at] = np.uint32(value)
                at += 1
        kept_ends[row + 1] = at


@compiled
def similarities(
    sketches: NDArray[np.uint32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    pairs: NDArray[np.int64],
    most: int,
    found: NDArray[np.float64],
) -> None:
    """Jaccard similarity of pairs of sketches; the `n`-th is `sketches[starts[n]:ends[n]]`.

    It is exact for sets of fewer than `most` hashes; else the share of common hashes among the `most`
    smallest of the union (Beyer and others, 2007, "On synopses for distinct-value estimation").
    """
    for row in range(len(pairs)):
        one, one_end = starts[pairs[row, 0]], ends[pairs[row, 0]]
        other, other_end = starts[pairs[row, 1]], ends[pairs[row, 1]]
        is_cut = one_end - one == most or other_end - other == most
        common = union = 0
        while (one < one_end or other < other_end) and not (is_cut and union == most):
            if other == other_end or (one < one_end and sketches[one] < sketches[other]):
                one += 1
            elif one == one_end or sketches[other] < sketches[one]:
                other += 1
            else:
                one, other, common = one + 1, other + 1, common + 1
            union += 1
        found[row] = common / max(union, 1)
