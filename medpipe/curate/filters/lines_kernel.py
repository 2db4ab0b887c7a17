"""Lines and paragraphs of a text: their shape, and whether they stood before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpipe.curate.filters import counts as c
from medpipe.curate.filters.code_points import BULLET, LINE_END
from medpipe.records.utf8 import compiled

SHORT_LINE = 30
"""Characters; FineWeb's."""
LINES_REMEMBERED = 16_384
"""Distinct lines and paragraphs of a text that are remembered; after so many, remembering starts again."""
_SLOTS = 4 * LINES_REMEMBERED
_MASK = _SLOTS - 1
_STAMP, _USED, _LINES, _CHARACTERS = range(4)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(48)
_PARAGRAPH = np.uint64(0xA0761D6478BD642F)
_TIMES = np.uint64(0x100000001B3)
_ELLIPSIS, _DOTS = 0x2026, 3


class Memory(NamedTuple):
    """The lines seen so far, as a hash table that need not be emptied between texts."""

    keys: NDArray[np.uint64]
    stamps: NDArray[np.int64]
    """Of the text that a slot was filled for."""
    state: NDArray[np.int64]
    """The stamp of this text, slots used, lines and characters of the paragraph."""
    paragraph: NDArray[np.uint64]
    """What the paragraph's lines are, in one number."""


def memory() -> Memory:
    """An empty memory; 1 MB."""
    return Memory(
        np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.int64), np.zeros(4, np.int64), np.zeros(1, np.uint64)
    )


@compiled
def forget(memory: Memory) -> None:
    """Starts a text."""
    memory.state[_STAMP] += 1
    memory.state[_USED] = 0


@compiled
def _stood_before(memory: Memory, key: np.uint64) -> bool:
    if memory.state[_USED] == LINES_REMEMBERED:
        forget(memory)
    slot = np.int64((key * _MIX) >> _SHIFT)
    stamp = memory.state[_STAMP]
    while memory.stamps[slot] == stamp:
        if memory.keys[slot] == key:
            return True
        slot = (slot + 1) & _MASK
    memory.keys[slot] = key
    memory.stamps[slot] = stamp
    memory.state[_USED] += 1
    return False


@compiled
def end_paragraph(row: NDArray[np.int64], memory: Memory) -> None:
    """Counts a paragraph, which a blank line or the end of the text ends."""
    if memory.state[_LINES]:
        row[c.PARAGRAPHS] += 1
        if _stood_before(memory, memory.paragraph[0] ^ _PARAGRAPH):
            row[c.DUPLICATE_PARAGRAPHS] += 1
            row[c.DUPLICATE_PARAGRAPH_CHARACTERS] += memory.state[_CHARACTERS]
    memory.state[_LINES] = 0
    memory.state[_CHARACTERS] = 0
    memory.paragraph[0] = 0


@compiled
def end_line(
    row: NDArray[np.int64],
    memory: Memory,
    key: np.uint64,
    length: int,
    first: np.uint8,
    last: np.uint8,
    last_code: np.int64,
    dots: int,
) -> None:
    """Counts a line.

    Args:
        row: the text's counts.
        memory: the lines before.
        key: what the line says, without spaces at its ends.
        length: its characters; 0 if it is blank.
        first: the table's entry of its first visible character.
        last: the table's entry of its last visible character.
        last_code: the last visible character.
        dots: how many full stops it ends with.
    """
    if length == 0:
        end_paragraph(row, memory)
        return
    row[c.LINES] += 1
    row[c.LINE_CHARACTERS] += length
    row[c.LONGEST_LINE] = max(row[c.LONGEST_LINE], length)
    if first & BULLET:
        row[c.BULLET_LINES] += 1
    if last_code == _ELLIPSIS or dots >= _DOTS:
        row[c.ELLIPSIS_LINES] += 1
    if last & LINE_END:
        row[c.ENDED_LINES] += 1
    if length <= SHORT_LINE:
        row[c.SHORT_LINES] += 1
    if _stood_before(memory, key):
        row[c.DUPLICATE_LINES] += 1
        row[c.DUPLICATE_LINE_CHARACTERS] += length
    memory.state[_LINES] += 1
    memory.state[_CHARACTERS] += length
    memory.paragraph[0] = (memory.paragraph[0] ^ key) * _TIMES
