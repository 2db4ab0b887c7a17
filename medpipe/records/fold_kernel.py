"""The fold behind content keys, as one pass over the bytes of a column.

The rules, in the order in which they act on a text:

1. ASCII letters become lower case, full-width forms of ASCII (U+FF01 to U+FF5E) the ASCII they stand for.
2. Role markers (`问：`, `[User]`) become a space: at the start of a row, behind a space, behind `.` or
   behind the end of a sentence; in brackets anywhere.
3. `? ! 。 ; …` with the spaces behind it becomes one sentence end; other runs of spaces one space.
4. Letters, marks, symbols, `%` and `‰` stay. Of numbers the digits stay, and punctuation that touches them:
   one mark before, one behind, and between two numbers one mark, a space, and one mark more. All else goes,
   but a space is left where it would bring two numbers together (`5 - 10` is not `510`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.records.utf8 import CODE_POINTS, code_points, compiled, decode, utf8_of

_ROLE_NAMES = (
    *("问题", "回答", "提问", "问", "答", "医生", "患者", "病人", "用户", "助手"),
    *("question", "answer", "user", "assistant", "human", "instruction", "output", "response"),
)
_SENTENCE_ENDS = "?!。;…"
_PARTS_OF_VALUES = "%‰"
"""Punctuation to Unicode, but part of what a number says."""

_DROPPED, _KEPT, _NUMBER, _MARK, _SENTENCE_END, _SPACE = range(6)
"""What a code point is."""
_STARTS_ROLE = 8
"""Added to the above where a role name starts with the code point."""
_START, _AFTER_NUMBER, _MARK_AFTER_NUMBER, _HELD_SPACE, _HELD_MARK = range(5)
"""Where the loop stands; in the last two states what was written last stays only if a number follows."""

_ASCII_END = 0x80
_FULL_WIDTH_FIRST, _FULL_WIDTH_LAST, _FULL_WIDTH_SHIFT = 0xFF01, 0xFF5E, 0xFEE0
_UPPER_FIRST, _UPPER_LAST, _LOWER_SHIFT = ord("A"), ord("Z"), 32
_STOP, _COLON, _OPENING, _CLOSING = ord("."), ord(":"), ord("["), ord("]")
_BLANK, _ONE_SENTENCE_END = ord(" "), ord("。")

_Bytes = NDArray[np.uint8]
_Offsets = NDArray[np.int64]
_Names = NDArray[np.int64]


@compiled
def _narrow(code: np.int64) -> np.int64:
    """A code point by rule 1."""
    if _FULL_WIDTH_FIRST <= code <= _FULL_WIDTH_LAST:
        code -= _FULL_WIDTH_SHIFT
    if _UPPER_FIRST <= code <= _UPPER_LAST:
        code += _LOWER_SHIFT
    return code


@compiled
def _behind_name(data: _Bytes, start: int, end: int, names: _Names) -> int:
    """Where the longest role name that starts here ends; -1 if there is none."""
    for row in range(names.shape[0]):
        at, letter = start, 0
        while letter < names.shape[1] and names[row, letter] and at < end:
            code, length = decode(data, at)
            if _narrow(code) != names[row, letter]:
                break
            at += length
            letter += 1
        if letter == names.shape[1] or names[row, letter] == 0:
            return at
    return -1


@compiled
def _behind_marker(data: _Bytes, start: int, end: int, names: _Names, kinds: _Bytes) -> int:
    """Where a role name, spaces and a colon end; -1 if they do not stand here."""
    at = _behind_name(data, start, end, names)
    while 0 <= at < end:
        code, length = decode(data, at)
        code = _narrow(code)
        at += length
        if code == _COLON:
            return at
        if kinds[code] != _SPACE:
            return -1
    return -1


@compiled
def _behind_bracket(data: _Bytes, start: int, end: int, names: _Names) -> int:
    """Where a role name and a closing bracket end; -1 if they do not stand here."""
    at = _behind_name(data, start, end, names)
    if 0 <= at < end:
        code, length = decode(data, at)
        if _narrow(code) == _CLOSING:
            return at + length
    return -1


@compiled
def fold_rows(
    data: _Bytes, offsets: _Offsets, kinds: _Bytes, names: _Names, units: NDArray[np.uint16], ends: _Offsets
) -> None:
    """Writes the fold of each row behind that of the row before, as UTF-16.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        kinds: what each code point is.
        names: the role names in lower case, the longest first, padded with zeros.
        units: takes the UTF-16 code units; as long as `data`.
        ends: takes where each row ends in `units`, from position 1 on.
    """
    stays = written = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        state, may_be_marker, is_sentence_end = _START, True, False
        # Whether a number stands last, and whether a mark that is held starts a number of its own.
        is_behind_number, is_fresh = False, False
        while at < end:
            start = at
            code, length = decode(data, at)
            at += length
            kind = kinds[np.uintp(code)]
            if kind == _KEPT and _ASCII_END <= code < _FULL_WIDTH_FIRST:
                # Most characters by far: they stay as they are and end whatever was going on.
                units[np.uintp(stays)] = code
                stays += 1
                written, state, may_be_marker, is_sentence_end = stays, _START, False, False
                is_behind_number = False
                continue
            code = _narrow(code)
            kind = kinds[np.uintp(code)]
            is_marker = False
            if kind >= _STARTS_ROLE:
                kind -= _STARTS_ROLE
                behind = _behind_marker(data, start, end, names, kinds) if may_be_marker else -1
                is_marker = behind >= 0
            elif code == _OPENING:
                behind = _behind_bracket(data, at, end, names)
                is_marker = behind >= 0
            if is_marker:
                at, kind = behind, _SPACE
            may_be_marker = (kind == _SPACE and not is_marker) or kind == _SENTENCE_END or code == _STOP
            if kind == _SPACE:
                if is_sentence_end:
                    continue
                written = stays
                if state in (_START, _HELD_MARK):
                    state = _START
                    continue
                state, code = _HELD_SPACE, np.int64(_BLANK)
            elif kind == _DROPPED:
                written, state, is_sentence_end = stays, _START, False
                continue
            elif kind == _KEPT:
                written, state, is_sentence_end = stays, _START, False
                is_behind_number = False
            elif kind == _NUMBER:
                if is_behind_number and (state == _START or (state == _HELD_MARK and is_fresh)):
                    for place in range(written, stays, -1):
                        units[np.uintp(place)] = units[np.uintp(place - 1)]
                    units[np.uintp(stays)] = _BLANK
                    written += 1
                state, is_sentence_end, is_behind_number = _AFTER_NUMBER, False, True
            else:
                is_sentence_end = kind == _SENTENCE_END
                if is_sentence_end:
                    code = np.int64(_ONE_SENTENCE_END)
                if state == _AFTER_NUMBER:
                    state = _MARK_AFTER_NUMBER
                else:
                    is_fresh = state in (_START, _HELD_MARK)
                    if state != _HELD_SPACE:
                        written = stays
                    state = _HELD_MARK
            if code < 0x10000:
                units[np.uintp(written)] = code
                written += 1
            else:
                units[np.uintp(written)] = 0xD7C0 + (code >> 10)
                units[np.uintp(written + 1)] = 0xDC00 | code & 0x3FF
                written += 2
            if state <= _MARK_AFTER_NUMBER:
                stays = written
        written = stays
        ends[row + 1] = stays


@lru_cache(maxsize=1)
def _kinds() -> _Bytes:
    kinds = np.full(CODE_POINTS, _DROPPED, np.uint8)
    for pattern, kind in ((r"[^\p{C}]", _KEPT), (r"\p{P}", _MARK), (r"\p{N}", _NUMBER), (r"\s", _SPACE)):
        kinds[code_points(pattern)] = kind
    kinds[[ord(character) for character in _SENTENCE_ENDS]] = _SENTENCE_END
    kinds[[ord(character) for character in _PARTS_OF_VALUES]] = _KEPT
    kinds[[ord(first) for first in {name[0] for name in _ROLE_NAMES}]] += _STARTS_ROLE
    return kinds


@lru_cache(maxsize=1)
def _names() -> _Names:
    names = sorted(_ROLE_NAMES, key=len, reverse=True)
    padded = np.zeros((len(names), len(names[0])), np.int64)
    for row, name in enumerate(names):
        padded[row, : len(name)] = [ord(letter) for letter in name]
    return padded


class Folded(NamedTuple):
    """The folds of a column's rows, one after the other; row `n` is `units[ends[n]:ends[n + 1]]`."""

    units: NDArray[np.uint16]
    """UTF-16 code units in the machine's byte order."""
    ends: NDArray[np.int64]

    def text(self, row: int) -> str:
        """The fold of one row."""
        return self.units[self.ends[row] : self.ends[row + 1]].tobytes().decode("utf-16")


def fold_column(column: pl.Series) -> Folded:
    """Folds the strings of a column; a null folds to nothing."""
    text = utf8_of(column)
    units = np.empty(len(text.data), np.uint16)
    ends = np.zeros(len(text.offsets), np.int64)
    fold_rows(text.data, text.offsets, _kinds(), _names(), units, ends)
    return Folded(units, ends)
