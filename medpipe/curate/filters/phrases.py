"""Measures of what a text says, as Polars expressions over the patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import polars as pl

from medpipe.curate.filters import patterns as p
from medpipe.curate.tier import CONTACTS

_TAIL, _HEAD = 80, 160
"""Characters in which an end or a beginning is looked for."""
_COURTESY = 1_000
"""Longer answers are not looked through for courtesy: none of them is full of it."""
_STATEMENT = 220
"""Most visible characters of one statement."""
_QUESTION = r"(?s)\A(?:\[(?:QUESTION|User)\]|Instruction:)(.*?)(?:\[(?:ANSWER|Assistant)\]|Output:)"
_LETTER = r"[\p{L}\p{N}]"
_SOME = 0.001
_SENTENCE = r"[。！？!?]|\.(?:\s|\z)"
_CONTACT = f"(?i){CONTACTS}"
_SUSPECT = f"(?:{p.ADVERTISEMENT})|(?:{_CONTACT})"
"""One search for both. With still more patterns in it the search would be slower than all of them alone."""
_WEB_PAGE = f"{p.LOREM_IPSUM}|{p.JAVASCRIPT}|{p.POLICY}"


def phrase_measures(
    text: pl.Series, answer_at: pl.Series, shape: pl.DataFrame, *, bad_words: Sequence[str] = ()
) -> dict[str, pl.Series]:
    """Measures by name, Float64, a value a text; `RULES` says what they mean.

    Args:
        text: String without nulls.
        answer_at: characters before the last answer's first; 0 without an answer.
        shape: with the columns `answers`, `characters` and `broken`.
        bad_words: to be counted; Latin ones as whole words only.
    """
    has_answer = shape["answers"] == 1
    places = pl.DataFrame({"text": text, "at": has_answer.cast(pl.Int64) * answer_at})
    # The last words of a long conversation are courtesy by rights: there the whole text counts.
    answer = places.select(pl.col("text").str.slice("at").str.strip_chars()).to_series()
    is_short = shape["characters"] <= _STATEMENT
    head, tail = answer.str.head(_HEAD), text.str.tail(_TAIL)
    suspects, page_like = text.str.contains(_SUSPECT), text.str.contains(_WEB_PAGE)
    found = {
        "boilerplate": _measured(
            (answer.str.len_chars() <= _COURTESY) & answer.str.contains(p.BOILERPLATE_WORDS),
            answer,
            _boilerplate_share,
        ),
        "dangling_label": tail.str.contains(p.DANGLING_LABEL),
        "open_end": tail.str.contains(p.OPEN_END),
        "teaser": tail.str.contains(p.TEASER),
        "advertisement": _measured(suspects, text, lambda texts: texts.str.count_matches(p.ADVERTISEMENT)),
        "contact": _measured(suspects, text, _is(_CONTACT)),
        "replacement": _measured(shape["broken"] > 0, text, _is("\ufffd")),
        "refusal": _measured(has_answer & head.str.contains(p.REFUSAL), answer, _declining_share),
        "self_disclosure": text.str.contains(p.SELF_DISCLOSURE),
        "link": _measured(has_answer & head.str.contains(p.LINK), answer, _is(p.LINK)),
        "statement": _measured(is_short & (shape["answers"] == 0), text, _is(p.TRIPLE)),
        "graph_question": _measured(
            is_short & has_answer & ~answer.str.contains(_SENTENCE), text, _is_graph_question
        ),
        "lorem_ipsum": _measured(page_like, text, _is(p.LOREM_IPSUM)),
        "javascript": _measured(page_like, text, _is(p.JAVASCRIPT)),
        "policy": _measured(page_like, text, _is(p.POLICY)),
        "bad_words": text.str.count_matches(_words(bad_words)) if bad_words else text.str.len_bytes() * 0,
    }
    return {name: values.cast(pl.Float64) for name, values in found.items()}


def _measured(suspects: pl.Series, texts: pl.Series, measure: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """A measure of the suspects alone, which are few; 0 for all others."""
    positions = suspects.arg_true()
    values = pl.zeros(texts.len(), dtype=pl.Float64, eager=True)
    if positions.is_empty():
        return values
    return values.scatter(positions, measure(texts.gather(positions)).cast(pl.Float64))


def _is(pattern: str) -> Callable[[pl.Series], pl.Series]:
    return lambda texts: texts.str.contains(pattern)


def _boilerplate_share(texts: pl.Series) -> pl.Series:
    return _share_removed(texts, p.BOILERPLATE)


def _declining_share(texts: pl.Series) -> pl.Series:
    """Of answers that start with a refusal: more than 0, whatever else they say."""
    return _share_removed(texts, p.DECLINING).clip(lower_bound=_SOME)


def _share_removed(texts: pl.Series, pattern: str) -> pl.Series:
    """Share of the letters and digits that stand in matches; marks between two matches belong to neither."""
    rest = texts.str.replace_all(pattern, "").str.count_matches(_LETTER)
    whole = texts.str.count_matches(_LETTER)
    shares = 1 - rest / whole.cast(pl.Float64)
    return shares.fill_nan(0.0)


def _is_graph_question(texts: pl.Series) -> pl.Series:
    """Whether what stands before the answer is a question made by template."""
    question = texts.str.extract(_QUESTION).str.strip_chars()
    return question.str.contains(p.GRAPH_QUESTION).fill_null(False)


def _words(words: Sequence[str]) -> str:
    whole = (rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word) for word in words)
    return "(?i)" + "|".join(whole)
