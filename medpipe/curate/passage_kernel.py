"""Compiled loops over the passages of texts: lines, and the sentences within them.

A line ends at a line feed or at a role marker such as `[ANSWER]`, which belongs to no passage. A sentence
ends with its line or behind an end mark and the end marks and closing marks that follow it; a full stop is
one only before a space. Passages are compared as content keys are: by their letters, in lower case and of
one width, so that punctuation and spaces make no difference.

No boilerplate for sure are

- passages with a digit, or with a Chinese numeral before a unit (`一日三次`);
- fields: what starts with a label and a colon (`医保：否`), all sentences of a line that does, and all lines
  of a record that does (`名称：…`);
- what ends with a colon: it says what the next lines are;
- what was asked: everything behind `[QUESTION]`, `患者：` and the like, up to the next role marker.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpipe.records.fold_kernel import (
    _ASCII_END,
    _COLON,
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

_LINE_FEED, _STOP, _COMMA = ord("\n"), ord("."), ord(",")
_LABEL_BYTES = 40
"""Of a label up to its colon: 13 Chinese characters, or some words of English."""
_END_MARK, _CLOSING_MARK, _NUMERAL, _UNIT, _ASKER = range(1, 6)
_CLASSES = {
    _END_MARK: "。！？!?；;…",
    _CLOSING_MARK: "”’」』）)\"'",
    _NUMERAL: "一二两三四五六七八九十百半数几",
    _UNIT: "日天次片粒丸包袋支瓶贴滴毫克钱厘周月年岁小分度倍成剂疗个",
    _ASKER: "问提患病用quhi",
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
    """End marks, closing marks, Chinese numerals, units, and first letters of the role names of who asks."""
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
    spans: NDArray[np.int64],
) -> int:
    """Walks through the passages of each row: lists them all, or marks those that are repeated.

    Smaller passages than `least` and those that are no boilerplate for sure (see above) are passed over.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        tables: see `tables`.
        least: size of a passage; a letter counts 3, one of ASCII 1.
        repeated: hashes of the passages to mark, in order; empty to list all.
        keep: takes zeros for the bytes of marked passages; ones before.
        counts: takes the number of marked passages in each row.
        hashes: takes the hashes of each row's passages, distinct within the row; or of each marked one.
        spans: takes the first byte of each marked passage and the one behind its last.

    Returns:
        The number of hashes written.
    """
    kinds, classes, names = tables
    marks = len(repeated) > 0
    written = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        row_start, row_first, line_first = at, written, written
        is_asked, is_record = False, False
        # Of the sentence and of its line: first byte, hash, size, and whether it is no boilerplate for sure.
        sentence, sentence_hash, sentence_size, sentence_stays = at, _NOTHING, 0, False
        line, line_hash, line_size, line_stays, line_is_field = at, _NOTHING, 0, False, False
        may_be_marker, may_be_label = True, True
        is_behind_end, is_behind_numeral, is_behind_colon = False, False, False
        while at <= end:
            place, behind, name_at = at, -1, at
            code, kind, group = np.int64(_LINE_FEED), np.int64(_SPACE), np.int64(0)
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
                    name_at = at
                    behind = _behind_bracket(data, at, end, names)
            else:
                at += 1
            ends_line = place == end or code == _LINE_FEED or behind >= 0
            is_end = group == _END_MARK or (
                code == _STOP and (at >= end or data[at] == 0x20 or data[at] == 0x0A)
            )
            all_stays = is_asked or is_record or is_behind_colon
            if ends_line or (is_behind_end and not is_end and group != _CLOSING_MARK):
                if sentence_size >= least and not (all_stays or sentence_stays):
                    value = _finished(sentence_hash)
                    if not marks or _is_among(value, repeated):
                        hashes[written] = value
                        if marks:
                            spans[written, 0], spans[written, 1] = sentence, place
                            keep[sentence:place] = 0
                        written += 1
                sentence, sentence_hash, sentence_size = place, _NOTHING, 0
                sentence_stays, is_behind_end, may_be_label = line_is_field, False, True
            if ends_line:
                if line_size >= least and not (all_stays or line_stays):
                    value = _finished(line_hash)
                    if not marks or _is_among(value, repeated):
                        if marks:
                            written = line_first
                            spans[written, 0], spans[written, 1] = line, place
                            keep[line:place] = 0
                        hashes[written] = value
                        written += 1
                if behind >= 0:
                    is_asked = classes[_narrow(decode(data, name_at)[0])] == _ASKER
                    at = behind
                sentence, line, line_hash, line_size, line_stays = at, at, _NOTHING, 0, False
                sentence_stays, line_is_field, line_first = False, False, written
                may_be_marker, is_behind_numeral, is_behind_colon = behind < 0, False, False
                continue
            is_behind_end = is_behind_end or is_end
            may_be_marker = kind in (_SPACE, _SENTENCE_END) or code == _STOP
            if code == _COLON and may_be_label and sentence_size > 0 and place - sentence <= _LABEL_BYTES:
                sentence_stays, line_stays = True, True
                line_is_field = line_is_field or sentence == line
                is_record = is_record or sentence == row_start
            may_be_label = may_be_label and not (code in (_COLON, _COMMA) or is_end)
            is_behind_colon = code == _COLON or (is_behind_colon and kind == _SPACE)
            if kind == _NUMBER or (group == _UNIT and is_behind_numeral):
                sentence_stays, line_stays = True, True
            is_behind_numeral = group == _NUMERAL
            if kind == _KEPT:
                size = 1 if code < _ASCII_END else 3
                sentence_hash = sentence_hash * _BASE + np.uint64(code) + _ONE
                line_hash = line_hash * _BASE + np.uint64(code) + _ONE
                sentence_size += size
                line_size += size
        if marks:
            counts[row] = written - row_first
        elif written > row_first:
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
