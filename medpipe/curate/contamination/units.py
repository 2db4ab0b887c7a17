"""Texts as sequences of what n-grams are made of: characters of the fold, or words."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.records.fold_kernel import fold_column
from medpipe.records.utf8 import CODE_POINTS, code_points, compiled, decode, utf8_of

_BETWEEN, _LETTER, _HAN = range(3)
"""What a code point is to words."""
_FULL_WIDTH_FIRST, _FULL_WIDTH_LAST, _FULL_WIDTH_SHIFT = 0xFF01, 0xFF5E, 0xFEE0
_FNV_START = np.uint64(0xCBF29CE484222325)
_FNV_FACTOR = np.uint64(0x100000001B3)


class Units(NamedTuple):
    """The units of a column's rows, one after the other; row `n` is `values[ends[n]:ends[n + 1]]`."""

    values: NDArray[Any]
    """UInt16 code units of the fold, in simplified characters, or UInt64 hashes of words."""
    ends: NDArray[np.int64]
    """One more than there are rows."""


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(CODE_POINTS, _BETWEEN, np.uint8)
    kinds[code_points(r"[\p{L}\p{M}\p{N}]")] = _LETTER
    kinds[code_points(r"[\p{Han}\p{Hiragana}\p{Katakana}]")] = _HAN
    return kinds


@compiled
def split_words(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    words: NDArray[np.uint64],
    places: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> None:
    """Writes the 64-bit FNV-1a hash of each word of each row, ASCII letters in lower case.

    A word is a run of letters, marks and digits. A run of Chinese characters or kana is one word, and always
    the same one: n-grams of words are for languages that have spaces.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        kinds: what each code point is.
        words: takes the hashes; half as long as `data`, and a place for each row.
        places: takes first byte and end of each word; empty if nobody asks.
        ends: takes where each row ends in `words`, from position 1 on.
    """
    count = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        last, value = _BETWEEN, _FNV_START
        while at < end:
            code, length = decode(data, at)
            if _FULL_WIDTH_FIRST <= code <= _FULL_WIDTH_LAST:
                code -= _FULL_WIDTH_SHIFT
            kind = kinds[np.uintp(code)]
            if kind != last:
                if last != _BETWEEN:
                    words[np.uintp(count)] = value
                    if len(places):
                        places[count, 1] = at
                    count += 1
                if kind != _BETWEEN:
                    value = _FNV_START
                    if len(places):
                        places[count, 0] = at
                last = kind
            if kind == _LETTER:
                if 65 <= code <= 90:
                    code += 32
                value = (value ^ np.uint64(code)) * _FNV_FACTOR
            at += length
        if last != _BETWEEN:
            words[count] = value
            if len(places):
                places[count, 1] = end
            count += 1
        ends[row + 1] = count


@lru_cache(maxsize=1)
def _simplified() -> NDArray[np.uint16]:
    """For each UTF-16 code unit itself, or the simplified character where it is a traditional one.

    Characters by themselves, so that every text keeps its length: what words a character stands in makes no
    difference to a comparison of two texts that are treated alike.
    """
    from medpipe.normalize.simplify import simplify_column

    table = np.arange(1 << 16, dtype=np.uint16)
    codes = range(0x3400, 0xA000)
    for code, new in zip(codes, simplify_column(pl.Series([chr(code) for code in codes])), strict=True):
        if len(new) == 1 and ord(new) < len(table):
            table[code] = ord(new)
    return table


def characters_of(texts: pl.Series) -> Units:
    """The fold of each text, see `medpipe.records.fold_kernel`, as UTF-16 code units.

    Traditional characters of the basic plane become simplified ones.
    """
    folded = fold_column(texts)
    return Units(_simplified()[folded.units[: folded.ends[-1]]], folded.ends)


def words_of(texts: pl.Series) -> Units:
    """The words of each text as hashes; case, width, spaces and punctuation make no difference."""
    utf8 = utf8_of(texts)
    words = np.empty(len(utf8.data) // 2 + len(utf8.offsets), np.uint64)
    ends = np.zeros(len(utf8.offsets), np.int64)
    split_words(utf8.data, utf8.offsets, _kinds(), words, np.empty((0, 2), np.int64), ends)
    return Units(words[: ends[-1]], ends)


def word_places(text: str) -> NDArray[np.int64]:
    """First byte and end in UTF-8 of each word of one text, a row a word."""
    utf8 = utf8_of(pl.Series([text]))
    size = len(utf8.data) // 2 + 2
    words, places, ends = np.empty(size, np.uint64), np.empty((size, 2), np.int64), np.zeros(2, np.int64)
    split_words(utf8.data, utf8.offsets, _kinds(), words, places, ends)
    return places[: ends[-1]]
