"""Records about the same thing: a disease in two bases, a guideline in two editions, one question twice."""

from __future__ import annotations

import numpy as np
import polars as pl

from medpipe.records.kinds import Domain, Kind

_NAMED = r"^(?:名称|Name)[：:]\s*([^\s。；;，,][^。\n；;]{0,59})"
"""The first clause of a multi-field record."""
_TITLE = r"^\s*([^\n]{4,80})\n"
_ASKED = (
    r"(?is)^\s*(?:\[(?:QUESTION|User)\]|(?:问题?|Question|Instruction)[：:])\s*(.+?)\s*"
    r"(?:\[(?:ANSWER|Assistant)\]|\n\s*(?:回?答|答案|Answer|Output)[：:])"
)
"""A question in front of its answer, in a text that somebody else rendered."""

LEAST_CHARACTERS = 8
"""Folded UTF-16 units of a question; shorter ones (`怎么办`, `写一首诗`) ask nothing in particular."""
MOST_RECORDS = 100
"""Different records that one question may open. In 57,069 conversations and preference pairs of
45 public sources a question that is asked again opens 2 of them in the median and 28 at most, all of them
answers that people ranked; what opens more than three times as many is a phrase, such as a task without its
text, and no subject."""


def family(text: pl.Expr, domain: pl.Expr) -> pl.Expr:
    """What a document is about, so that its relatives stand on the same side of the hold-out.

    A multi-field record is about what it names; a guideline about its first line, without case, spaces,
    digits and punctuation, so that the edition makes no difference.

    Returns:
        String; null where a text does not say.
    """
    named = text.str.extract(_NAMED).str.strip_chars().str.to_lowercase()
    title = text.str.extract(_TITLE).str.to_lowercase().str.replace_all(r"[^\p{L}]+", "")
    is_guideline = domain.cast(pl.String) == Domain.GUIDELINE.value
    return (
        pl.when(named.is_not_null())
        .then(pl.lit("name:") + named)
        .when(is_guideline & (title.str.len_chars() >= 4))
        .then(pl.lit("title:") + title)
    )


def first_question(kind: Kind) -> pl.Expr:
    """What a record opens with, where that is a question: String, null elsewhere.

    Of conversations and preferences it is the first turn of the user, of documents what stands before the
    answer where both are marked. Exam items have none: what repeats one of them is found as contamination.
    """
    match kind:
        case Kind.CONVERSATION | Kind.PREFERENCE:
            turns = pl.col("turns" if kind is Kind.CONVERSATION else "prompt").list
            asked = turns.eval(pl.element().filter(pl.element().struct.field("role") == "user"))
            return asked.list.first().struct.field("content")
        case Kind.DOCUMENT:
            return pl.col("text").str.extract(_ASKED)
        case Kind.EXAM_ITEM:
            return pl.lit(None, dtype=pl.String)


def question_key(question: pl.Expr) -> pl.Expr:
    """Equal for equal questions, whatever their case, width, spaces, punctuation and role names.

    Returns:
        UInt64, the first half of the question's content key; null for a null and for less than
        `LEAST_CHARACTERS`.
    """
    return question.map_batches(_question_keys, return_dtype=pl.UInt64, is_elementwise=True)


def _question_keys(questions: pl.Series) -> pl.Series:
    from medpipe.records.fold_kernel import fold_column
    from medpipe.records.keys import content_key

    is_long = np.diff(fold_column(questions).ends) >= LEAST_CHARACTERS
    asked = pl.DataFrame({"asked": questions, "is_long": is_long})
    halves = content_key(pl.col("asked")).str.head(16).str.to_integer(base=16, dtype=pl.UInt64)
    return asked.select(pl.when("is_long").then(halves)).to_series()
