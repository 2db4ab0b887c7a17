"""Counts the letters of texts by script, in one pass over the bytes of a column."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.records.utf8 import CODE_POINTS, code_points, compiled, decode, utf8_of

_SCRIPTS = {
    "han": r"\p{Han}",
    "ascii": "[A-Za-z]",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "other": r"[\p{L}--[\p{Han}A-Za-z\p{Hiragana}\p{Katakana}]]",
}


@compiled
def count_rows(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], kinds: NDArray[np.uint8], counts: NDArray[np.int64]
) -> None:
    """Counts the code points of each row by kind.

    Args:
        data: the rows' UTF-8 bytes.
        offsets: where each row starts in them, and where the last one ends.
        kinds: the kind of each code point.
        counts: takes a row for each of them and a column for each kind; zeros before.
    """
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            code, length = decode(data, at)
            counts[row, kinds[code]] += 1
            at += length


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(CODE_POINTS, len(_SCRIPTS), np.uint8)
    for number, pattern in enumerate(_SCRIPTS.values()):
        kinds[code_points(pattern)] = number
    return kinds


def letters_by_script(column: pl.Series) -> pl.DataFrame:
    """How many letters each string has of Chinese characters, ASCII letters, kana and all others.

    Returns:
        The Int64 columns `han`, `ascii`, `kana`, `other`; zeros for nulls.
    """
    text = utf8_of(column)
    counts = np.zeros((len(column), len(_SCRIPTS) + 1), np.int64)
    count_rows(text.data, text.offsets, _kinds(), counts)
    return pl.DataFrame({name: counts[:, number] for number, name in enumerate(_SCRIPTS)})
