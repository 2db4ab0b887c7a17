"""Rolling hashes of n-grams, and the search for them, as compiled loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medpipe.curate.mixing import mix
from medpipe.records.utf8 import compiled

_BASE = np.uint64(0x9E3779B97F4A7C15)
_BIT, _ONE = np.uint64(63), np.uint64(1)


@compiled
def hash_windows(
    units: NDArray[Any],
    ends: NDArray[np.int64],
    window: int,
    hashes: NDArray[np.uint64],
    places: NDArray[np.int64],
    rows: NDArray[np.int64],
    only_first: bool,
) -> int:
    """Writes hash, place and row of each n-gram that lies within one row; returns how many there are.

    Args:
        units: the units of all rows.
        ends: where each row ends in them, after a zero.
        window: units of an n-gram.
        hashes: takes the hashes; has room for all.
        places: takes where each n-gram starts.
        rows: takes the row of each.
        only_first: only the first n-gram of each row.
    """
    highest = np.uint64(1)
    for _ in range(window - 1):
        highest *= _BASE
    count = 0
    for row in range(len(ends) - 1):
        start, end = ends[row], ends[row + 1]
        value = np.uint64(0)
        for at in range(start, end):
            if at - start >= window:
                if only_first:
                    break
                value -= (np.uint64(units[at - window]) + _ONE) * highest
            value = value * _BASE + np.uint64(units[at]) + _ONE
            if at - start >= window - 1:
                hashes[count] = mix(value)
                places[count] = at - window + 1
                rows[count] = row
                count += 1
    return count


@compiled
def _pattern(value: np.uint64) -> np.uint64:
    """Four bits of a word, by the lower bits of a hash."""
    first, second = _ONE << (value & _BIT), _ONE << (value >> np.uint64(6) & _BIT)
    third, fourth = _ONE << (value >> np.uint64(12) & _BIT), _ONE << (value >> np.uint64(18) & _BIT)
    return first | second | third | fourth


@compiled
def set_bits(hashes: NDArray[np.uint64], bits: NDArray[np.uint64], shift: np.uint64) -> None:
    """Sets the four bits of each hash in the word that its upper part names (a blocked Bloom filter)."""
    for value in hashes:
        bits[value >> shift] |= _pattern(value)


@compiled
def _place_of(value: np.uint64, hashes: NDArray[np.uint64]) -> int:
    """Where the first hash that is not smaller stands."""
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high) >> 1
        if hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def find_windows(
    units: NDArray[Any],
    ends: NDArray[np.int64],
    window: int,
    hashes: NDArray[np.uint64],
    places: NDArray[np.int64],
    spans: NDArray[np.int64],
    exam: NDArray[Any],
    bits: NDArray[np.uint64],
    shift: np.uint64,
    is_done: NDArray[np.bool_],
    matches: NDArray[np.int64],
) -> int:
    """Finds n-grams of exam items in the rows of a column, and compares them unit by unit.

    Args:
        units: the units of all rows.
        ends: where each row ends in them, after a zero.
        window: units of an n-gram, or of the start of a short item.
        hashes: of the n-grams to find, sorted.
        places: where each of them starts in `exam`.
        spans: how many units from there on must be the same.
        exam: the units of the exam items.
        bits: the filter of `set_bits`, which tells most other n-grams apart.
        shift: bits of a hash below the part that names a word of the filter.
        is_done: rows that are passed over.
        matches: takes start in `units`, place in `exam` and units of each match. If it is empty, a row is
            done at its first match, and marked so.

    Returns:
        How many matches there are, those for which there was no room too.
    """
    highest = np.uint64(1)
    for _ in range(window - 1):
        highest *= _BASE
    count = 0
    for row in range(len(ends) - 1):
        start, end = ends[row], ends[row + 1]
        value = np.uint64(0)
        if is_done[row] or end - start < window:
            continue
        for at in range(start, end):
            if at - start >= window:
                value -= (np.uint64(units[np.uintp(at - window)]) + _ONE) * highest
            value = value * _BASE + np.uint64(units[np.uintp(at)]) + _ONE
            if at - start < window - 1:
                continue
            wanted = mix(value)
            pattern = _pattern(wanted)
            if bits[np.uintp(wanted >> shift)] & pattern != pattern:
                continue
            number = _place_of(wanted, hashes)
            begin = at - window + 1
            is_found = False
            while number < len(hashes) and hashes[number] == wanted:
                length = spans[number]
                is_same = begin + length <= end
                step = 0
                while is_same and step < length:
                    is_same = units[begin + step] == exam[places[number] + step]
                    step += 1
                if is_same:
                    is_found = True
                    if count < len(matches):
                        matches[count, 0] = begin
                        matches[count, 1] = places[number]
                        matches[count, 2] = length
                    count += 1
                number += 1
            if is_found and len(matches) == 0:
                is_done[row] = True
                break
    return count
