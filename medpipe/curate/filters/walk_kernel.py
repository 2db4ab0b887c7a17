"""One walk over the characters of each text: everything that can be counted on the way."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.filters import counts as c
from medpipe.curate.filters.code_points import (
    DIGIT,
    FUNCTION_WORD,
    HAN,
    INVISIBLE,
    KANA,
    KIND_BITS,
    LATIN,
    LETTER,
    MARK,
    NEWLINE,
    SENTENCE_END,
    SPACE,
    kinds,
)
from medpipe.curate.filters.lines_kernel import Memory, end_line, end_paragraph, forget, memory
from medpipe.curate.filters.mojibake_kernel import mojibake
from medpipe.curate.filters.repetition_kernel import WINDOW, Workspace, measure_window, workspace
from medpipe.records.utf8 import compiled, decode, utf8_of

PIECE = 32
"""Longest unit: a longer run of letters is several, so that one endless word repeats itself too."""
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's."""
_LONGEST_STOP_WORD = 4
_LABELS = ("[User]", "[QUESTION]", "[Function]", "[Observation]", "[Assistant]", "[ANSWER]")
_LINE_LABELS = ("Instruction:", "Output:")
"""What the templates of `normalize.templates` write; the latter at the start of a line only."""
_ANSWERS = ("[Assistant]", "[ANSWER]", "Output:")

_FULL_STOP, _OPENING, _ELLIPSIS, _HASH, _CURLY = ord("."), ord("["), 0x2026, ord("#"), ord("{")
_APOSTROPHE, _RIGHT_QUOTE, _HYPHEN = ord("'"), 0x2019, ord("-")
_I, _O = ord("I"), ord("O")
_DOTS = 3
_LATIN_1_FIRST, _LATIN_1_LAST = 0xA1, 0xFF
_START = np.uint64(0xCBF29CE484222325)
_TIMES = np.uint64(0x100000001B3)

_Bytes = NDArray[np.uint8]


@compiled
def _is_in_run(kind: int) -> bool:
    return kind in (LATIN, DIGIT, LETTER, MARK)


@compiled
def _is_joiner(code: np.int64) -> bool:
    """Whether a mark between two letters or digits is part of the word: `don't`, `38.5`, `T-cell`."""
    return code in (_FULL_STOP, _HYPHEN, _APOSTROPHE)


@compiled
def _label(data: _Bytes, at: int, end: int, labels: _Bytes, is_line_start: bool) -> int:
    """Which label stands here, by its row; -1 if none does."""
    for number in range(labels.shape[0]):
        if labels[number, 0] != _OPENING and not is_line_start:
            break
        length = 0
        while (
            length < labels.shape[1]
            and labels[number, length]
            and at + length < end
            and data[at + length] == labels[number, length]
        ):
            length += 1
        if length == labels.shape[1] or labels[number, length] == 0:
            return number
    return -1


@compiled
def _measure(work: Workspace, row: NDArray[np.int64], units: int) -> int:
    """Measures a window; how many units the next one has already."""
    measured = min(units, WINDOW)
    measure_window(work, measured, row[c.REPEATED :])
    row[c.UNITS] += measured
    row[c.UNIT_CHARACTERS] += work.characters[measured]
    for unit in range(measured, units):
        work.keys[unit - measured] = work.keys[unit]
        size = work.characters[unit + 1] - work.characters[unit]
        work.characters[unit - measured + 1] = work.characters[unit - measured] + size
    return units - measured


@compiled
def _end_run(
    row: NDArray[np.int64], length: int, key: np.uint64, has_letter: bool, stop_words: NDArray[np.uint64]
) -> None:
    row[c.WORDS] += 1
    row[c.RUNS] += 1
    row[c.RUN_CHARACTERS] += length
    row[c.LONGEST_RUN] = max(row[c.LONGEST_RUN], length)
    if has_letter:
        row[c.RUNS_WITH_LETTER] += 1
    if length <= _LONGEST_STOP_WORD:
        for word in stop_words:
            if key == word:
                row[c.STOP_WORDS] += 1


@compiled
def walk_rows(
    data: _Bytes,
    offsets: NDArray[np.int64],
    table: _Bytes,
    labels: _Bytes,
    begins_answer: NDArray[np.uint8],
    stop_words: NDArray[np.uint64],
    lines: Memory,
    work: Workspace,
    counts: NDArray[np.int64],
) -> None:
    """Counts each row's characters, units, lines and repetitions.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        table: what each code point is.
        labels: role labels, padded with zeros; those in brackets first.
        begins_answer: whether an answer follows each label.
        stop_words: keys of the stop words.
        lines: a memory of lines.
        work: arrays for windows.
        counts: takes a row for each text; zeros before.
    """
    keys, starts = work.keys, work.characters
    for number in range(len(offsets) - 1):
        row = counts[number]
        at, end = offsets[number], offsets[number + 1]
        forget(lines)
        index = visible = units = label_end = answer_visible = 0
        before = last_code = np.int64(0)
        same = latin = dots = run = piece = 0
        run_key = piece_key = _START
        has_letter = stop_is_open = False
        line_key = line_key_open = _START
        line_start = line_last = -1
        first = last = np.uint8(0)
        while at < end:
            if units >= WINDOW:
                units = _measure(work, row, units)
            code, length = decode(data, at)
            entry = table[np.uintp(code)]
            kind = entry & KIND_BITS
            row[kind] += 1
            is_blank = kind in (SPACE, NEWLINE)
            row[c.SENTENCE_ENDS] += stop_is_open and is_blank
            stop_is_open = code == _FULL_STOP
            goes_on = _is_in_run(kind) or kind == INVISIBLE
            if run and not goes_on:
                if (code < 0x80 and _is_joiner(code)) or code == _RIGHT_QUOTE:
                    goes_on = at + length < end and _is_in_run(
                        table[np.uintp(decode(data, at + length)[0])] & KIND_BITS
                    )
                if not goes_on:
                    if piece:
                        keys[units], starts[units + 1] = piece_key, starts[units] + piece
                        units += 1
                    _end_run(row, run, run_key, has_letter, stop_words)
                    run = piece = 0
            if is_blank:
                if kind == NEWLINE:
                    size = line_last - line_start + 1 if line_start >= 0 else 0
                    end_line(row, lines, line_key, size, first, last, last_code, dots)
                    line_key = line_key_open = _START
                    line_start, dots = -1, 0
                elif line_start >= 0:
                    line_key_open = (line_key_open ^ np.uint64(code)) * _TIMES
                before = np.int64(0)
                same = latin = 0
                at += length
                index += 1
                continue
            # What is visible, and format characters, which lines are compared by too.
            is_line_start = line_start < 0
            if is_line_start:
                line_start, first = index, entry
            line_last, last, last_code = index, entry, code
            line_key = line_key_open = (line_key_open ^ np.uint64(code)) * _TIMES
            visible += 1
            if code == _OPENING or (is_line_start and (code in (_I, _O))):
                found = _label(data, at, end, labels, is_line_start)
                if found >= 0:
                    # Each turn is measured by itself: an answer that takes up the question is no defect.
                    while units:
                        units = _measure(work, row, units)
                    label_end = at
                    while label_end - at < labels.shape[1] and labels[found, label_end - at]:
                        row[c.LABEL_LETTERS] += table[labels[found, label_end - at]] == LATIN
                        row[c.LABEL_CHARACTERS] += 1
                        label_end += 1
                    if begins_answer[found]:
                        row[c.ANSWERS] += 1
                        row[c.ANSWER_AT] = index + label_end - at
                        answer_visible = visible - 1 + label_end - at
            at += length
            index += 1
            dots = dots + 1 if code == _FULL_STOP else 0
            if at <= label_end or kind == INVISIBLE:
                continue
            same = same + 1 if code == before else 1
            if same > row[c.LONGEST_SAME]:
                row[c.LONGEST_SAME] = same
            if entry & SENTENCE_END:
                row[c.SENTENCE_ENDS] += 1
            if code > 0x7F:
                row[c.FUNCTION_CHARACTERS] += (entry & FUNCTION_WORD) != 0
                row[c.ELLIPSES] += code == _ELLIPSIS and same == 1
                latin = latin + 1 if _LATIN_1_FIRST <= code <= _LATIN_1_LAST else 0
                row[c.MOJIBAKE] += mojibake(code, before, latin)
            else:
                latin = 0
                row[c.ELLIPSES] += dots == _DOTS
                row[c.HASHES] += code == _HASH
                row[c.CURLY_BRACKETS] += code == _CURLY
            before = code
            if goes_on:
                if run == 0:
                    run_key, has_letter = _START, False
                if piece == 0:
                    piece_key = _START
                run += 1
                piece += 1
                run_key = (run_key ^ np.uint64(code)) * _TIMES
                piece_key = (piece_key ^ np.uint64(code)) * _TIMES
                has_letter = has_letter or kind in (LATIN, LETTER)
                if piece == PIECE:
                    keys[units], starts[units + 1] = piece_key, starts[units] + piece
                    units += 1
                    piece = 0
            else:
                row[c.WORDS] += kind in (HAN, KANA)
                keys[units], starts[units + 1] = np.uint64(code), starts[units] + 1
                units += 1
        if run:
            if piece:
                keys[units], starts[units + 1] = piece_key, starts[units] + piece
                units += 1
            _end_run(row, run, run_key, has_letter, stop_words)
        row[c.SENTENCE_ENDS] += stop_is_open
        size = line_last - line_start + 1 if line_start >= 0 else 0
        end_line(row, lines, line_key, size, first, last, last_code, dots)
        end_paragraph(row, lines)
        while units:
            units = _measure(work, row, units)
        if row[c.ANSWER_AT]:
            row[c.ANSWER_CHARACTERS] = visible - answer_visible


@lru_cache(maxsize=1)
def _labels() -> tuple[_Bytes, _Bytes]:
    names = (*_LABELS, *_LINE_LABELS)
    padded = np.zeros((len(names), max(map(len, names))), np.uint8)
    for number, name in enumerate(names):
        padded[number, : len(name)] = list(name.encode())
    return padded, np.array([name in _ANSWERS for name in names], np.uint8)


def key_of(word: str) -> int:
    """What the walk makes of a run of letters."""
    key = int(_START)
    for letter in word:
        key = (key ^ ord(letter)) * int(_TIMES) & 0xFFFFFFFFFFFFFFFF
    return key


def count_column(column: pl.Series) -> NDArray[np.int64]:
    """The counts of each text, in the columns that `counts` names; zeros for a null."""
    text = utf8_of(column)
    counts = np.zeros((len(column), c.COLUMNS), np.int64)
    labels, begins_answer = _labels()
    stop_words = np.array([key_of(word) for word in STOP_WORDS], np.uint64)
    walk_rows(
        text.data, text.offsets, kinds(), labels, begins_answer, stop_words, memory(), workspace(), counts
    )
    return counts
