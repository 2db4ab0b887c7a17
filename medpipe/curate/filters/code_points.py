"""What each code point is to the filters, as one table over all of Unicode.

The low four bits of an entry are its kind, the bits above say what else it can do.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medpipe.records.utf8 import CODE_POINTS, code_points

HAN, KANA, LATIN, LETTER, MARK, DIGIT, PUNCTUATION, SYMBOL, SPACE, NEWLINE, INVISIBLE, BROKEN = range(12)
"""Kinds. `LETTER` is of any other script; `BROKEN` are control characters, U+FFFD, private use and code
points that Unicode has not assigned; `INVISIBLE` are format characters such as right-to-left marks."""
KINDS = 12
KIND_BITS = 0x0F
SENTENCE_END, LINE_END, BULLET, FUNCTION_WORD = 0x10, 0x20, 0x40, 0x80

_BY_KIND = (
    (BROKEN, r"\p{C}"),
    (INVISIBLE, r"\p{Cf}"),
    (SYMBOL, r"\p{S}"),
    (PUNCTUATION, r"\p{P}"),
    (DIGIT, r"\p{N}"),
    (MARK, r"\p{M}"),
    (LETTER, r"\p{L}"),
    (LATIN, r"[\p{Latin}&&\p{L}]"),
    (KANA, r"[[\p{Hiragana}\p{Katakana}]&&\p{L}]"),
    (HAN, r"[\p{Han}&&\p{L}]"),
    (SPACE, r"\s"),
    (NEWLINE, r"\n"),
    (BROKEN, r"\x{FFFD}"),
)
"""Later entries win."""
SENTENCE_ENDS = "。！？!?；;…"
"""Marks that end a sentence wherever they stand; a full stop does so before a space only."""
LINE_ENDS = ".!?\"'" + "。！？；;…”’」』"
"""The marks of C4 and FineWeb, and what Chinese writes in their place."""
BULLETS = "•‣▶◀◦■□▪▫–" + "●○◆◇★※·-*"
"""The bullets of Dolma and NeMo Curator, and those of Chinese pages and Markdown."""
FUNCTION_CHARACTERS = "的了是在有和不为与及或等可以也而之其者则"
"""Characters that stand in nearly every Chinese sentence, modern or classical, but in few lists of names."""


@lru_cache(maxsize=1)
def kinds() -> NDArray[np.uint8]:
    """The table: an entry a code point."""
    table = np.full(CODE_POINTS, BROKEN, np.uint8)
    for kind, pattern in _BY_KIND:
        table[code_points(pattern)] = kind
    for flag, marks in (
        (SENTENCE_END, SENTENCE_ENDS),
        (LINE_END, LINE_ENDS),
        (BULLET, BULLETS),
        (FUNCTION_WORD, FUNCTION_CHARACTERS),
    ):
        table[[*map(ord, marks)]] |= flag
    return table
