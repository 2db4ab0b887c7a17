"""Compiled loops over the passages of texts: lines, and the sentences within them.

A line ends at a line feed or at a role marker such as `[ANSWER]`, which belongs to no passage. A sentence
ends with its line or behind an end mark and the end marks and closing marks that follow it; a full stop is
one only before a space. Passages are compared as content keys are: by their letters, in lower case and of
one width, so that punctuation and spaces make no difference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpipe.records.fold_kernel import (
    _KEPT,
    _NUMBER,
    _OPENING,
    _SENTENCE_END,
    _SPACE,
    _STARTS_ROLE,
    _behind_bracket,
    _behind_marker,
    _kinds,
    _names,
    _narrow,
)
from medpipe.records.utf8 import CODE_POINTS, compiled, decode

_LINE_FEED, _STOP = ord("\n"), ord(".")
_END_MARK, _CLOSING_MARK, _NUMERAL, _UNIT = range(1, 5)
_CLASSES = {
    _END_MARK: "。！？!?；;…",
    _CLOSING_MARK: "”’」』）)\"'",
    _NUMERAL: "一二两三四五六七八九十百半数几",
    _UNIT: "日天次片粒丸包袋支瓶贴滴毫克钱厘周月年岁小分度倍成剂疗个",
}
_BASE = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_NOTHING, _ONE = np.uint64(0), np.uint64(1)

_Bytes = NDArray[np.uint8]
_Hashes = NDArray[np.uint64]


class Tables(NamedTuple):
    """What the loops look up."""

    kinds: _Bytes
    """What each code point is to the fold of content keys."""
    classes: _Bytes
    """End marks, closing marks, Chinese numerals and units."""
    names: NDArray[np.int64]
    """Role names."""


@lru_cache(maxsize=1)
def tables() -> Tables:
    """The tables for `mark_rows`."""
    classes = np.zeros(CODE_POINTS, np.uint8)
    for number, characters in _CLASSES.items():
        classes[[ord(character) for character in characters]] = number
    return Tables(_kinds(), classes, _names())


@compiled
def _is_among(value: np.uint64, ordered: _Hashes) -> bool:
    place = np.searchsorted(ordered, value)
    return bool(place < len(ordered) and ordered[place] == value)


@compiled
def _finished(value: np.uint64) -> np.uint64:
    return (value ^ (value >> _SHIFT)) * _BASE


@compiled
def mark_rows(
    data: _Bytes,
    offsets: NDArray[np.int64],
    tables: Tables,
    least: int,
    repeated: _Hashes,
    keep: _Bytes,
    counts: NDArray[np.uint32],
    hashes: _Hashes,
) -> int:
    """Walks through the passages of each row; marks those that are repeated and lists the hashes of all.

    Passages with fewer letters than `least`, or with a digit or a Chinese numeral before a unit, do not
    count.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        tables: see `tables`.
        least: letters of a passage.
        repeated: hashes of the passages to mark, in order; may be empty.
        keep: takes zeros for the bytes of these passages; ones before. Not touched if none is repeated.
        counts: takes the number of marked passages in each row.
        hashes: takes the hashes of each row's passages, distinct within the row; empty if not wanted.

    Returns:
        The number of hashes written.
    """
    kinds, classes, names = tables
    written = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        row_first, marked = written, 0
        # Of the sentence and of its line: first byte, hash, letters; whether a dose or the like is in it.
        sentence, sentence_hash, sentence_letters, sentence_is_dose = at, _NOTHING, 0, False
        line, line_hash, line_letters, line_is_dose = at, _NOTHING, 0, False
        marked_before_line = 0
        may_be_marker, is_behind_end, is_behind_numeral = True, False, False
        while at <= end:
            place, behind, code, kind, group = at, -1, np.int64(_LINE_FEED), np.int64(_SPACE), np.int64(0)
            if at < end:
                code, length = decode(data, at)
                at += length
                group = np.int64(classes[code])
                code = _narrow(code)
                kind = np.int64(kinds[code])
                if kind >= _STARTS_ROLE:
                    kind -= _STARTS_ROLE
                    if may_be_marker:
                        behind = _behind_marker(data, place, end, names, kinds)
                elif code == _OPENING:
                    behind = _behind_bracket(data, at, end, names)
            else:
                at += 1
            ends_line = place == end or code == _LINE_FEED or behind >= 0
            is_end = group == _END_MARK or (
                code == _STOP and (at >= end or data[at] == 0x20 or data[at] == 0x0A)
            )
            if ends_line or (is_behind_end and not is_end and group != _CLOSING_MARK):
                if sentence_letters >= least and not sentence_is_dose:
                    value = _finished(sentence_hash)
                    if len(hashes):
                        hashes[written] = value
                        written += 1
                    if len(repeated) and _is_among(value, repeated):
                        keep[sentence:place] = 0
                        marked += 1
                sentence, sentence_hash, sentence_letters = place, _NOTHING, 0
                sentence_is_dose, is_behind_end = False, False
            if ends_line:
                if line_letters >= least and not line_is_dose:
                    value = _finished(line_hash)
                    if len(hashes):
                        hashes[written] = value
                        written += 1
                    if len(repeated) and _is_among(value, repeated):
                        keep[line:place] = 0
                        marked = marked_before_line + 1
                if behind >= 0:
                    at = behind
                sentence, line, line_hash, line_letters, line_is_dose = at, at, _NOTHING, 0, False
                marked_before_line, may_be_marker, is_behind_numeral = marked, behind < 0, False
                continue
            is_behind_end = is_behind_end or is_end
            may_be_marker = kind in (_SPACE, _SENTENCE_END) or code == _STOP
            if kind == _NUMBER or (group == _UNIT and is_behind_numeral):
                sentence_is_dose, line_is_dose = True, True
            is_behind_numeral = group == _NUMERAL
            if kind == _KEPT:
                sentence_hash = sentence_hash * _BASE + np.uint64(code) + _ONE
                line_hash = line_hash * _BASE + np.uint64(code) + _ONE
                sentence_letters += 1
                line_letters += 1
        counts[row] = marked
        if written > row_first:
            ordered = np.sort(hashes[row_first:written])
            written = row_first
            for value in ordered:
                if written == row_first or hashes[written - 1] != value:
                    hashes[written] = value
                    written += 1
    return written


@compiled
def drop_marked(
    data: _Bytes,
    offsets: NDArray[np.int64],
    keep: _Bytes,
    kinds: _Bytes,
    kept: _Bytes,
    ends: NDArray[np.int64],
) -> None:
    """Copies the bytes that stay; a line of which only spaces stay goes with its line feed."""
    written = 0
    for row in range(len(offsets) - 1):
        row_first = line = written
        has_lost, has_any = False, False
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            code, length = decode(data, at)
            if not keep[at]:
                has_lost = True
            elif code == _LINE_FEED and has_lost and not has_any:
                written, has_lost = line, False
            else:
                for place in range(at, at + length):
                    kept[written] = data[place]
                    written += 1
                if code == _LINE_FEED:
                    line, has_lost, has_any = written, False, False
                elif kinds[code] != _SPACE:
                    has_any = True
            at += length
        if has_lost and not has_any:
            written = max(row_first, line - 1)
        ends[row + 1] = written
