"""The loops behind multi-field records: strings trimmed and joined to clauses, over the bytes of a column."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.normalize.labels import Wording
from medpipe.normalize.tidy import SAYS_NOTHING, STRAY_AT_END, STRAY_AT_START
from medpipe.records.utf8 import compiled, decode, strings_of, utf8_of

_MARKS, _STOPS, _CLOSING = (np.array([*map(ord, marks)]) for marks in ("！？!?", "。…", '”’」』"）)'))
_JOINER, _STOP, _AFTER_MARK, _FIRST_LABEL = range(4)
"""What comes before the strings themselves."""
_CONTINUATION, _FULL_STOP = 0b10, ord(".")
_TABLE = 0x10000
"""No stray character lies beyond."""

_Bytes = NDArray[np.uint8]
_Offsets = NDArray[np.int64]


class Trimming(NamedTuple):
    """What is taken off the ends of strings, as tables."""

    at_start: _Bytes
    """Whether each code point below U+10000 is stray at the start of a string."""
    at_end: _Bytes
    nothing: _Bytes
    """The strings that say nothing, a row each, padded with zeros."""


@lru_cache(maxsize=1)
def _trimming() -> Trimming:
    at_start, at_end = np.zeros(_TABLE, np.uint8), np.zeros(_TABLE, np.uint8)
    at_start[[*map(ord, STRAY_AT_START)]] = 1
    at_end[[*map(ord, STRAY_AT_END)]] = 1
    encoded = [text.encode() for text in SAYS_NOTHING]
    nothing = np.zeros((len(encoded), max(map(len, encoded)) + 1), np.uint8)
    for row, text in enumerate(encoded):
        nothing[row, : len(text)] = list(text)
    return Trimming(at_start, at_end, nothing)


@compiled
def _start_of_last(data: _Bytes, start: int, end: int) -> int:
    """Where the last character before `end` starts."""
    last = end - 1
    while last > start and data[np.uintp(last)] >> 6 == _CONTINUATION:
        last -= 1
    return last


@compiled
def _is_nothing(data: _Bytes, start: int, end: int, nothing: _Bytes) -> bool:
    if end - start >= nothing.shape[1]:
        return False
    for row in range(nothing.shape[0]):
        at = 0
        while start + at < end and data[start + at] == nothing[row, at]:
            at += 1
        if start + at == end and nothing[row, at] == 0:
            return True
    return False


@compiled
def _trimmed(data: _Bytes, start: int, end: int, trimming: Trimming) -> tuple[int, int]:
    """Where a string starts and ends without stray characters; the same place if it says nothing then."""
    while start < end:
        code, length = decode(data, start)
        if code >= _TABLE or not trimming.at_start[code]:
            break
        start += length
    # A list item that the publisher's web site cut ends with three dots, which say so and stay.
    is_cut = end - start > 2 and data[end - 1] == data[end - 2] == data[end - 3] == _FULL_STOP
    while start < end and not is_cut:
        last = _start_of_last(data, start, end)
        code, _ = decode(data, last)
        if code >= _TABLE or not trimming.at_end[code]:
            break
        end = last
    return start, start if _is_nothing(data, start, end, trimming.nothing) else end


@compiled
def trim_rows(data: _Bytes, offsets: _Offsets, trimming: Trimming, trimmed: _Bytes, ends: _Offsets) -> None:
    """Writes each row without stray characters behind the row before.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        trimming: what is stray.
        trimmed: takes the bytes; as long as `data`.
        ends: takes where each row ends in `trimmed`, from position 1 on.
    """
    written = 0
    for row in range(len(offsets) - 1):
        start, end = _trimmed(data, offsets[row], offsets[row + 1], trimming)
        trimmed[written : written + end - start] = data[start:end]
        written += end - start
        ends[row + 1] = written


@compiled
def _ends_by_itself(data: _Bytes, start: int, end: int) -> bool:
    """Whether a text ends with a mark, or with a mark or a stop within closing quotes or brackets."""
    is_closed = False
    while end > start:
        last = _start_of_last(data, start, end)
        code, _ = decode(data, last)
        if code in _MARKS:
            return True
        if code not in _CLOSING:
            return is_closed and code in _STOPS
        is_closed, end = True, last
    return False


@compiled
def join_rows(
    data: _Bytes,
    offsets: _Offsets,
    runs: _Offsets,
    height: int,
    trimming: Trimming,
    texts: _Bytes,
    ends: _Offsets,
) -> None:
    """Writes the clauses of each record behind those of the record before.

    Args:
        data: the bytes of the item joiner, the stop, what follows a mark, the columns' labels, and then the
            strings of all values, column by column.
        offsets: where each of these starts, and where the last one ends.
        runs: the first string of each value, column by column, and where the last one ends.
        height: records.
        trimming: what is stray at the ends of the strings.
        texts: takes the bytes.
        ends: takes where each record ends in `texts`, from position 1 on.
    """
    pieces = np.empty((3, 2), np.int64)
    written = 0
    for row in range(height):
        begun, ends_by_itself = written, False
        for column in range((len(runs) - 1) // height):
            is_empty = True
            for item in range(runs[column * height + row], runs[column * height + row + 1]):
                start, end = _trimmed(data, offsets[item], offsets[item + 1], trimming)
                if start == end:
                    continue
                before = _JOINER
                if is_empty:
                    before = -1 if written == begun else _AFTER_MARK if ends_by_itself else _STOP
                label = _FIRST_LABEL + column if is_empty else -1
                for number, phrase in enumerate((before, label)):
                    pieces[number, 0] = offsets[phrase] if phrase >= 0 else 0
                    pieces[number, 1] = offsets[phrase + 1] if phrase >= 0 else 0
                pieces[2, 0], pieces[2, 1] = start, end
                for piece in range(3):
                    source, target = np.uintp(pieces[piece, 0]), np.uintp(written)
                    length = np.uintp(pieces[piece, 1]) - source
                    for step in range(length):
                        texts[target + step] = data[source + step]
                    written += pieces[piece, 1] - pieces[piece, 0]
                is_empty = False
            if not is_empty:
                ends_by_itself = _ends_by_itself(texts, begun, written)
        ends[row + 1] = written


def trim_column(column: pl.Series) -> pl.Series:
    """Strings without stray characters at their ends; null for what says nothing then, and for nulls."""
    text = utf8_of(column)
    trimmed, ends = np.empty(len(text.data), np.uint8), np.zeros(len(text.offsets), np.int64)
    trim_rows(text.data, text.offsets, _trimming(), trimmed, ends)
    return _null_for_empty(strings_of(trimmed, ends))


def join_clauses(strings: pl.Series, counts: _Offsets, labels: Sequence[str], words: Wording) -> pl.Series:
    """The labelled clauses of many records as one text each.

    Args:
        strings: String, of all values, column by column; nulls and what says nothing are left out.
        counts: how many of them are of each value.
        labels: of the columns, each with its colon.
        words: what stands between items and clauses.

    Returns:
        String, one a record; null where a record has no value at all.
    """
    phrases = [words.item, words.stop, words.after_mark, *labels]
    text = utf8_of(pl.concat([pl.Series(phrases), strings]))
    runs = np.concatenate([[0], np.cumsum(counts)]) + len(phrases)
    height = len(counts) // len(labels)
    longest = max(len(phrase.encode()) for phrase in phrases)
    joined = np.empty(len(text.data) + 2 * longest * (len(counts) + len(strings)), np.uint8)
    ends = np.zeros(height + 1, np.int64)
    join_rows(text.data, text.offsets, runs, height, _trimming(), joined, ends)
    return _null_for_empty(strings_of(joined, ends))


def _null_for_empty(texts: pl.Series) -> pl.Series:
    return texts.to_frame("text").select(pl.when(pl.col("text") != "").then("text")).to_series()
