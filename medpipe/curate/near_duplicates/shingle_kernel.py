"""Hashes of shingles: every run of n characters, or of n words, as 64 bits.

A polynomial over the last n units rolls along the text (Karp and Rabin, 1987), and each value is mixed by
the finaliser of SplitMix64, because MinHash orders shingles by their high bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medpipe.curate.mixing import mix
from medpipe.records.fold_kernel import (
    _KEPT,
    _NUMBER,
    _OPENING,
    _SENTENCE_END,
    _SPACE,
    _STARTS_ROLE,
    _STOP,
    _behind_bracket,
    _behind_marker,
    _kinds,
    _names,
    _narrow,
)
from medpipe.records.utf8 import compiled, decode

_BASE = np.uint64(0x9E3779B97F4A7C15)
_NOTHING, _ONE = np.uint64(0), np.uint64(1)
_IDEOGRAPHS = 0x2E80
"""From here on scripts are written without spaces: each character counts as a word."""


@compiled
def _roll(units: NDArray[Any], start: int, end: int, size: int, hashes: NDArray[np.uint64], at: int) -> int:
    """Writes the shingles of one text; a text shorter than a shingle is one. Returns where they end."""
    oldest = _ONE
    for _ in range(size - 1):
        oldest *= _BASE
    value = _NOTHING
    for place in range(start, end):
        if place - start >= size:
            value -= (np.uint64(units[place - size]) + _ONE) * oldest
        value = value * _BASE + (np.uint64(units[place]) + _ONE)
        if place - start >= size - 1:
            hashes[at] = mix(value)
            at += 1
    if 0 < end - start < size:
        hashes[at] = mix(value)
        at += 1
    return at


@compiled
def _hash_words(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    kinds: NDArray[np.uint8],
    names: NDArray[np.int64],
    words: NDArray[np.uint64],
) -> int:
    """Writes a hash of each word of a UTF-8 text, without case, width and role names; returns how many."""
    count, word, is_inside, may_be_marker = 0, _NOTHING, False, True
    at = start
    while at < end:
        place = at
        code, length = decode(data, at)
        at += length
        code = _narrow(code)
        kind, behind = np.int64(kinds[code]), -1
        if kind >= _STARTS_ROLE:
            kind -= _STARTS_ROLE
            if may_be_marker:
                behind = _behind_marker(data, place, end, names, kinds)
        elif code == _OPENING:
            behind = _behind_bracket(data, at, end, names)
        if behind >= 0:
            at, kind = behind, np.int64(_SPACE)
        is_letter = kind in (_KEPT, _NUMBER)
        may_be_marker = behind < 0 and (kind in (_SPACE, _SENTENCE_END) or code == _STOP)
        if is_inside and (not is_letter or code >= _IDEOGRAPHS):
            words[count] = mix(word)
            count, word, is_inside = count + 1, _NOTHING, False
        if is_letter:
            word = word * _BASE + np.uint64(code) + _ONE
            is_inside = True
            if code >= _IDEOGRAPHS:
                words[count] = mix(word)
                count, word, is_inside = count + 1, _NOTHING, False
    if is_inside:
        words[count] = mix(word)
        count += 1
    return count


@compiled
def hash_rows(
    units: NDArray[np.uint16],
    unit_ends: NDArray[np.int64],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    by_word: NDArray[np.bool_],
    characters_a_shingle: int,
    words_a_shingle: int,
    kinds: NDArray[np.uint8],
    names: NDArray[np.int64],
    words: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
    ends: NDArray[np.int64],
) -> None:
    """Writes the shingles' hashes of each row behind those of the row before.

    Args:
        units: the folded rows as UTF-16, one after the other.
        unit_ends: where each row starts in them, and where the last one ends.
        data: the rows as UTF-8.
        offsets: as `unit_ends`, for `data`.
        by_word: whether a row's shingles are made of words.
        characters_a_shingle: n of the other rows.
        words_a_shingle: n of these rows.
        kinds: what each code point is.
        names: the role names.
        words: scratch for the words of the longest row.
        hashes: takes the hashes.
        ends: takes where each row ends in them, from position 1 on.
    """
    at = 0
    for row in range(len(by_word)):
        if by_word[row]:
            count = _hash_words(data, offsets[row], offsets[row + 1], kinds, names, words)
            at = _roll(words, 0, count, words_a_shingle, hashes, at)
        else:
            at = _roll(units, unit_ends[row], unit_ends[row + 1], characters_a_shingle, hashes, at)
        ends[row + 1] = at


def tables() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """What each code point is, and the role names: the tables behind content keys."""
    return _kinds(), _names()
