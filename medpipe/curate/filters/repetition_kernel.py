"""Repeated n-grams of a window of units, exactly and in few steps.

A unit is a character in Chinese and a word in English. An n-gram can occur twice only where both (n-1)-grams
within it do, so that each length looks only at what the length before left over; and as those two have
numbers by then, the pair of numbers *is* the n-gram, and no text is compared or hashed again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpipe.records.utf8 import compiled

WINDOW = 8_192
"""Units that are looked at together. Longer texts are measured window by window: this bounds memory, and a
book is not held to repeat itself because it is long."""
BEYOND = 4
"""Units of the next window that there is room for."""
TOP_LENGTHS = (2, 3, 4)
DUPLICATE_LENGTHS = (5, 6, 7, 8, 9, 10)
_LONGEST = DUPLICATE_LENGTHS[-1]
_FIRST_DUPLICATE = DUPLICATE_LENGTHS[0]

_SLOTS = 2 * WINDOW
_MIX = np.uint64(0x9E3779B97F4A7C15)
_PAIR = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_ONE = np.uint64(1)


class Workspace(NamedTuple):
    """Arrays that every window uses again."""

    keys: NDArray[np.uint64]
    """What the units are: equal where they are equal."""
    characters: NDArray[np.int64]
    """Characters before each unit, from position 1 on up to it."""
    slots: NDArray[np.uint64]
    first: NDArray[np.int32]
    """Hash table: an n-gram, and the position of its first occurrence, -1 where the slot is free."""
    numbers: NDArray[np.int32]
    """The number of the n-gram at each position: its first occurrence."""
    occurrences: NDArray[np.int32]
    apart: NDArray[np.int32]
    """By number: occurrences that do not overlap."""
    free_from: NDArray[np.int32]
    """By number: where the next occurrence that overlaps no other can start."""
    candidates: NDArray[np.int32]
    """Positions whose n-gram may occur twice, ascending."""


def workspace() -> Workspace:
    """Arrays for windows of `WINDOW` units; about 500 kB."""
    units = (WINDOW, np.int32)
    return Workspace(
        keys=np.empty(WINDOW + BEYOND, np.uint64),
        characters=np.zeros(WINDOW + BEYOND + 1, np.int64),
        slots=np.empty(_SLOTS, np.uint64),
        first=np.empty(_SLOTS, np.int32),
        numbers=np.empty(*units),
        occurrences=np.empty(*units),
        apart=np.empty(*units),
        free_from=np.empty(*units),
        candidates=np.empty(*units),
    )


@compiled
def _count(work: Workspace, length: int, considered: int) -> None:
    """Numbers the n-grams at the candidates and counts them."""
    bits = 4
    while (1 << bits) < 2 * considered:
        bits += 1
    shift, mask = np.uint64(64 - bits), np.uint64((1 << bits) - 1)
    keys, numbers, candidates = work.keys, work.numbers, work.candidates
    slots, first = work.slots, work.first
    occurrences, apart, free_from = work.occurrences, work.apart, work.free_from
    first[: np.int64(mask) + 1] = -1
    for place in range(considered):
        position = np.uintp(candidates[np.uintp(place)])
        if length == 2:
            key = keys[position] * _PAIR + keys[position + _ONE]
        else:
            # In ascending order a number is overwritten only once both pairs that hold it were read.
            key = np.uint64(numbers[position]) << _HALF | np.uint64(numbers[position + _ONE])
        slot = (key * _MIX) >> shift
        while first[slot] >= 0 and slots[slot] != key:
            slot = (slot + _ONE) & mask
        if first[slot] < 0:
            slots[slot] = key
            first[slot] = position
            occurrences[position] = 1
            apart[position] = 1
            free_from[position] = position + length
            numbers[position] = position
        else:
            number = np.uintp(first[slot])
            occurrences[number] += 1
            if np.int64(position) >= free_from[number]:
                apart[number] += 1
                free_from[number] = position + length
            numbers[position] = number


@compiled
def _top(work: Workspace, length: int, considered: int) -> int:
    """Characters in the occurrences of the n-gram that occurs most often, and at least twice."""
    candidates, numbers, apart, starts = work.candidates, work.numbers, work.apart, work.characters
    most, characters = 1, 0
    for place in range(considered):
        position = candidates[place]
        times = apart[position] if numbers[position] == position else 0
        if times > 1 and times >= most:
            size = starts[position + length] - starts[position]
            if times > most or times * size > characters:
                most, characters = times, times * size
    return characters


@compiled
def _duplicate(work: Workspace, length: int, considered: int) -> int:
    """Characters in n-grams that stood before, each counted once, read from left to right."""
    candidates, numbers, starts = work.candidates, work.numbers, work.characters
    occurrences, free_from = work.occurrences, work.free_from
    characters, behind = 0, 0
    for place in range(considered):
        position = candidates[place]
        number = numbers[position]
        if occurrences[number] < 2 or position < behind:
            continue
        if free_from[number] < 0:
            characters += starts[position + length] - starts[position]
            behind = position + length
        else:
            # From here on this array says which n-grams stood before.
            free_from[number] = -1
    return characters


@compiled
def _narrow(work: Workspace, considered: int) -> int:
    """Leaves the positions whose n-gram and the next one both occur twice."""
    candidates, numbers, occurrences = work.candidates, work.numbers, work.occurrences
    left = 0
    for place in range(considered - 1):
        position, behind = candidates[place], candidates[place + 1]
        if behind == position + 1 and occurrences[numbers[position]] > 1 and occurrences[numbers[behind]] > 1:
            candidates[left] = position
            left += 1
    return left


@compiled
def measure_window(work: Workspace, units: int, found: NDArray[np.int64]) -> None:
    """Adds the repeated characters of a window, after Rae et al. 2021 (Gopher), table A1.

    Args:
        work: holds the window's units in `keys` and `characters`.
        units: how many.
        found: takes characters in the top 2-, 3- and 4-gram, then in duplicate 5- to 10-grams.
    """
    considered = max(units - 1, 0)
    for position in range(considered):
        work.candidates[position] = position
    for length in range(2, _LONGEST + 1):
        if considered < 2:
            return
        _count(work, length, considered)
        if length < _FIRST_DUPLICATE:
            found[length - 2] += _top(work, length, considered)
        else:
            found[length - 2] += _duplicate(work, length, considered)
        considered = _narrow(work, considered)
