"""Finds the texts that cleaning may change, in one pass over the bytes of a column."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.records.utf8 import CODE_POINTS, code_points, compiled, decode, utf8_of

_CLEAN, _DIRTY, _LOOK_CLOSER = range(3)
_TAB, _LINE_END, _BLANK, _LESS, _AND = (ord(character) for character in "\t\n <&")
_OPENS_MARKUP = "/!#abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What follows `<` in a tag, a comment or a declaration, or `&` in an entity."""

_Bytes = NDArray[np.uint8]


@compiled
def find_suspects(
    data: _Bytes,
    offsets: NDArray[np.int64],
    kinds: _Bytes,
    first_bytes: _Bytes,
    opens_markup: _Bytes,
    suspects: _Bytes,
) -> None:
    """Marks each row that holds a dirty code point, what may be markup, or white space out of place.

    White space is out of place at both ends, before a line end, and as two empty lines.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        kinds: whether each code point is clean or dirty.
        first_bytes: the same for all code points that start with a byte; which ones to look at closer.
        opens_markup: whether a byte behind `<` or `&` makes it suspicious.
        suspects: takes 1 for each row that is marked.
    """
    for row in range(len(suspects)):
        at, end = offsets[row], offsets[row + 1]
        first = at
        found = False
        while at < end and not found:
            byte = data[at]
            if first_bytes[byte] == _CLEAN:
                at += 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                continue
            code, length = decode(data, at)
            if kinds[code] == _DIRTY:
                found = True
            elif code < 0x80:
                following = data[at + 1] if at + 1 < end else 0
                third = data[at + 2] if at + 2 < end else 0
                if code in (_LESS, _AND):
                    found = opens_markup[following] != 0
                else:
                    before_end = following == _LINE_END and (code != _LINE_END or third == _LINE_END)
                    found = at == first or at + 1 == end or before_end
            at += length
        suspects[row] = found


@lru_cache(maxsize=4)
def _tables(dirty: str) -> tuple[_Bytes, _Bytes, _Bytes]:
    kinds = np.full(CODE_POINTS, _CLEAN, np.uint8)
    first_bytes = np.full(256, _CLEAN, np.uint8)
    opens_markup = np.zeros(256, np.uint8)
    found = code_points(dirty)
    kinds[found] = _DIRTY
    characters = found.tobytes().decode("utf-32-le")
    first_bytes[[*{c.encode()[0] for c in characters}, _TAB, _LINE_END, _BLANK, _LESS, _AND]] = _LOOK_CLOSER
    opens_markup[[ord(character) for character in _OPENS_MARKUP]] = 1
    return kinds, first_bytes, opens_markup


def suspects(column: pl.Series, *, dirty: str) -> pl.Series:
    r"""Which rows cleaning may change.

    Args:
        column: String.
        dirty: class of the characters that are suspicious in themselves, as a regular expression.

    Returns:
        Boolean; true also for a few rows that turn out to be clean, false for nulls.
    """
    text = utf8_of(column)
    found = np.zeros(len(column), np.uint8)
    find_suspects(text.data, text.offsets, *_tables(dirty), found)
    return pl.Series(column.name, found.astype(np.bool_))
