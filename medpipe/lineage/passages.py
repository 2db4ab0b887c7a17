"""Finds a passage in texts: as it is typed, or typed with other width, case, spaces and punctuation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from medpipe.records.fold_kernel import fold_column
from medpipe.records.keys import fold_text

EXACT, FOLDED = "exact", "folded"
_UNIT = 2
"""Bytes of a UTF-16 code unit."""


class Match(NamedTuple):
    """Where a passage stands in one text, in characters."""

    start: int
    stop: int
    how: str


def matching_rows(texts: pl.Series, passage: str) -> pl.DataFrame:
    """The texts that hold a passage.

    A text matches exactly where the passage stands in it character by character. It matches folded where the
    fold of the passage, which names its content (see `medpipe.records.fold_kernel`), stands in the fold of
    the text: other width, case, spaces, punctuation and role markers are the same there. Folds are compared
    whole and not by a hash, so there is no false match.

    Args:
        texts: dtype String; a null matches nothing.
        passage: what is looked for.

    Returns:
        Columns `row` (UInt32, position in `texts`) and `how`, in order.
    """
    literal = texts.str.contains(passage, literal=True).fill_null(False)
    how = pl.select(pl.when(literal).then(pl.lit(EXACT))).to_series()
    needle = fold_text(passage).encode("utf-16-le")
    if needle and not bool(literal.all()):
        folded = np.zeros(texts.len(), dtype=bool)
        folded[_rows_with(texts, needle)] = True
        how = pl.select(
            pl.when(literal).then(pl.lit(EXACT)).when(pl.Series(folded)).then(pl.lit(FOLDED))
        ).to_series()
    return pl.DataFrame(
        {"row": pl.int_range(texts.len(), dtype=pl.UInt32, eager=True), "how": how}
    ).drop_nulls()


def _rows_with(texts: pl.Series, needle: bytes) -> list[int]:
    """Rows whose fold holds the needle; looks at the folds of all rows as one buffer."""
    folded = fold_column(texts)
    buffer = folded.units[: folded.ends[-1]].astype("<u2", copy=False).tobytes()
    rows, at = [], 0
    while (at := buffer.find(needle, at)) >= 0:
        if at % _UNIT:
            at += 1
            continue
        row = int(np.searchsorted(folded.ends, at // _UNIT, side="right")) - 1
        if at + len(needle) <= folded.ends[row + 1] * _UNIT:
            rows.append(row)
            at = int(folded.ends[row + 1]) * _UNIT
        else:  # it begins in one row and ends in another
            at += _UNIT
    return rows


def find_in(text: str, passage: str) -> Match | None:
    """Where a passage stands first in a text.

    A folded passage is looked for among the letters, digits and symbols of the text, one by one, without the
    rules for numbers; its ends are those of its first and last such character.
    """
    at = text.find(passage)
    if at >= 0:
        return Match(at, at + len(passage), EXACT)
    letters, places = _letters(text)
    wanted, _ = _letters(passage)
    at = letters.find(wanted) if wanted else -1
    if at < 0:
        return None
    return Match(places[at], places[at + len(wanted) - 1] + 1, FOLDED)


def _letters(text: str) -> tuple[str, list[int]]:
    """The letters and digits of a text, each folded by itself to one character, and their places."""
    folded = fold_column(pl.Series(list(text), dtype=pl.String))
    each = ((folded.text(place), place) for place in range(len(text)))
    kept = [(letter, place) for letter, place in each if len(letter) == 1 and letter.isalnum()]
    return "".join(letter for letter, _ in kept), [place for _, place in kept]
