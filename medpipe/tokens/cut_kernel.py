r"""Where byte-level BPE cuts a text before merging, as a loop over its UTF-8 bytes.

The cuts are those of GPT-2's regular expression, which `tokenizers` calls `ByteLevel`::

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

with or without every digit cut out first (`Digits(individual_digits=True)`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medpipe.records.utf8 import compiled, decode

OTHER, LETTER, NUMBER, SPACE = range(4)
"""What the regular expression tells apart."""
KIND = 3
"""The bits of a class that hold one of the above."""
ALONE = 4
"""Added to the class of a code point that is cut out before the regular expression is asked."""
UNKNOWN = 255
"""Class of a code point that nobody has asked `tokenizers` about yet."""

_BLANK, _APOSTROPHE = 0x20, 0x27

Bytes = NDArray[np.uint8]


@compiled
def _contraction(data: Bytes, at: int, end: int) -> int:
    """Bytes of the English contraction that starts at an apostrophe, or 0."""
    if at + 1 < end:
        first = data[at + 1]
        if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:  # s t m d
            return 2
        if at + 2 < end:
            second = data[at + 2]
            if (first == 0x72 or first == 0x76) and second == 0x65:  # re ve
                return 3
            if first == 0x6C and second == 0x6C:  # ll
                return 3
    return 0


@compiled
def piece_end(data: Bytes, at: int, end: int, classes: Bytes) -> int:
    """Where the piece that starts at a byte ends; -1 - code point where a class is `UNKNOWN`."""
    code, width = decode(data, at)
    kind = classes[code]
    if kind == UNKNOWN:
        return int(-1 - code)
    if kind & ALONE:
        return at + width
    if code == _APOSTROPHE:
        width_of_contraction = _contraction(data, at, end)
        if width_of_contraction:
            return at + width_of_contraction
    place = at + width
    if kind == SPACE:
        blanks, last = 1, at
        while place < end:
            code_here, width = decode(data, place)
            kind_here = classes[code_here]
            if kind_here == UNKNOWN:
                return int(-1 - code_here)
            if kind_here == SPACE:
                blanks += 1
                last = place
                place += width
                continue
            if kind_here & ALONE:  # the end of what the expression is asked about
                return place
            if blanks > 1:
                return int(last)
            if code != _BLANK:
                return place
            kind = kind_here
            place += width
            break
        else:
            return place
    while place < end:
        code_here, width = decode(data, place)
        kind_here = classes[code_here]
        if kind_here == UNKNOWN:
            return int(-1 - code_here)
        if kind_here != kind:
            break
        place += width
    return place
