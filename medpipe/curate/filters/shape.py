"""Measures of a text's shape: shares and means of what the kernels count."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.filters import code_points as kinds
from medpipe.curate.filters import counts as c
from medpipe.curate.filters.repetition_kernel import DUPLICATE_LENGTHS, TOP_LENGTHS

_Column = NDArray[np.float64]


def _share(part: _Column, whole: _Column, *, of_nothing: float = 0.0) -> _Column:
    shares = np.full(len(part), of_nothing)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def shape_measures(counts: NDArray[np.int64]) -> pl.DataFrame:
    """Measures by name, Float64, a row a text; `RULES` says what they mean.

    Args:
        counts: of `walk_kernel.count_column`.
    """
    n = np.ascontiguousarray(counts.T, dtype=np.float64)
    raw_letters = n[[kinds.HAN, kinds.KANA, kinds.LATIN, kinds.LETTER]].sum(axis=0)
    letters = raw_letters - n[c.LABEL_LETTERS]
    latin = n[kinds.LATIN] - n[c.LABEL_LETTERS]
    characters = n[: kinds.KINDS].sum(axis=0)
    raw_visible = characters - n[kinds.SPACE] - n[kinds.NEWLINE]
    visible = raw_visible - n[kinds.INVISIBLE] - n[c.LABEL_CHARACTERS]
    words, lines = n[c.WORDS], n[c.LINES]
    measures = {
        "all_characters": characters,
        "all_visible": raw_visible,
        "letters_digits": raw_letters + n[kinds.DIGIT],
        "characters": visible,
        "words": words,
        "units": n[c.UNITS],
        "mean_word_length": _share(n[c.RUN_CHARACTERS], n[c.RUNS]),
        "longest_word": n[c.LONGEST_RUN],
        "alphabetic_words": _share(n[c.RUNS_WITH_LETTER] + words - n[c.RUNS], words),
        "stop_words": n[c.STOP_WORDS],
        "function_characters": _share(n[c.FUNCTION_CHARACTERS], n[kinds.HAN]),
        "han": _share(n[kinds.HAN], letters, of_nothing=np.nan),
        "latin": _share(latin, letters, of_nothing=np.nan),
        "foreign": _share(letters - n[kinds.HAN] - latin, letters, of_nothing=np.nan),
        "kana": _share(n[kinds.KANA], letters, of_nothing=np.nan),
        "alphanumeric": _share(letters + n[kinds.DIGIT], visible),
        "symbols": _share(n[kinds.SYMBOL], visible),
        "digits": _share(n[kinds.DIGIT], visible),
        "punctuation": _share(n[kinds.PUNCTUATION] - n[c.LABEL_CHARACTERS] + n[c.LABEL_LETTERS], visible),
        "hashes": _share(n[c.HASHES], words),
        "ellipses": _share(n[c.ELLIPSES], words),
        "curly_brackets": n[c.CURLY_BRACKETS],
        "broken": _share(n[kinds.BROKEN], visible),
        "mojibake": _share(n[c.MOJIBAKE], visible),
        "same_character": _share(n[c.LONGEST_SAME], visible),
        "sentences": n[c.SENTENCE_ENDS],
        "lines": lines,
        "mean_line_length": _share(n[c.LINE_CHARACTERS], lines),
        "longest_line": n[c.LONGEST_LINE],
        "bullet_lines": _share(n[c.BULLET_LINES], lines),
        "ellipsis_lines": _share(n[c.ELLIPSIS_LINES], lines),
        "ended_lines": _share(n[c.ENDED_LINES], lines),
        "short_lines": _share(n[c.SHORT_LINES], lines),
        "newlines": _share(n[kinds.NEWLINE], words),
        "distinct_lines": lines - n[c.DUPLICATE_LINES],
        "duplicate_lines": _share(n[c.DUPLICATE_LINES], lines),
        "duplicate_line_characters": _share(n[c.DUPLICATE_LINE_CHARACTERS], n[c.LINE_CHARACTERS]),
        "duplicate_paragraphs": _share(n[c.DUPLICATE_PARAGRAPHS], n[c.PARAGRAPHS]),
        "duplicate_paragraph_characters": _share(n[c.DUPLICATE_PARAGRAPH_CHARACTERS], n[c.LINE_CHARACTERS]),
        "answers": n[c.ANSWERS],
        "answer_characters": np.where(n[c.ANSWERS] == 1, n[c.ANSWER_CHARACTERS], np.nan),
    }
    names = [f"top_{length}_gram" for length in TOP_LENGTHS]
    names += [f"duplicate_{length}_gram" for length in DUPLICATE_LENGTHS]
    for place, name in enumerate(names):
        measures[name] = _share(n[c.REPEATED + place], n[c.UNIT_CHARACTERS])
    return pl.DataFrame(measures).fill_nan(None)
