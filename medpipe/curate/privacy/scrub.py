"""Replaces personal data by typed placeholders.

Each rule has an anchor, a cheap expression that Rust searches in all texts. What it finds, in some percent of
the texts of a medical corpus, is looked at by the rule itself, which needs what Rust's expressions lack: a
look to both sides, and checks of sums and ranges.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from medpipe.curate.privacy.config import PrivacyConfig
from medpipe.curate.privacy.narrow import narrow_texts
from medpipe.curate.privacy.review import SCHEMA, review_rows, sample_review
from medpipe.curate.privacy.rule import Rule
from medpipe.curate.privacy.rules import RULES
from medpipe.curate.privacy.spans import Span, find_spans

_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_LATIN = re.compile("[A-Za-z]")
_MOST_PASSES = 10
_LATIN_A_HAN = 4
"""Latin letters that say about as much as one Chinese character."""
_JUDGED = 10_000
"""Characters from the start, without what is personal, that tell the language."""


class Scrubbed(NamedTuple):
    """Texts without personal data, and what was taken out."""

    texts: pl.Series
    """As given, but for what was replaced."""
    counts: dict[str, int]
    """Replacements by versioned rule; rules that found nothing are missing."""
    review: pl.DataFrame
    """A masked sample for a person to read; columns of `review.SCHEMA`."""


def scrub(
    texts: pl.Series,
    *,
    config: PrivacyConfig = PrivacyConfig(),  # noqa: B008 - frozen
    ids: pl.Series | None = None,
) -> Scrubbed:
    """Replaces personal data in a batch of texts.

    A placeholder is Chinese (`[电话]`) in a text that starts mainly in Chinese, else English (`[PHONE]`).
    What no rule claims stays byte for byte; a text that was scrubbed is not changed by scrubbing it again.

    Args:
        texts: String; nulls stay null.
        config: the rules to apply and the size of the review sample.
        ids: String, the records' ids as the review sample names them; the row numbers if not given.

    Returns:
        Texts row for row, counts by rule, and the review sample.
    """
    found: dict[int, str] = {}
    counts: Counter[str] = Counter()
    rows: list[dict[str, str | int]] = []
    chosen = tuple(RULES) if config.rules is None else config.rules
    for position, text, narrow, rules in _candidates(texts, chosen):
        # Again until nothing is found: a placeholder can bare a number that had letters before it.
        for _ in range(_MOST_PASSES):
            if not (spans := find_spans(narrow, rules)):
                break
            counts.update(span.rule for span in spans)
            if config.review_per_rule:
                record = str(position) if ids is None else str(ids[position])
                rows += review_rows(
                    text, spans, record=record, position=position, context=config.review_context
                )
            text = found[position] = _replaced(text, spans)
            narrow = narrow_texts(pl.Series([text])).item()
    review = sample_review([pl.DataFrame(rows, schema=SCHEMA)], per_rule=config.review_per_rule)
    ordered = {name: counts[name] for name in RULES if counts[name]}
    return Scrubbed(_with_rows(texts, found), ordered, review)


def scrub_texts(texts: list[str]) -> list[str]:
    """The texts without personal data, as a page may show them that many people see."""
    scrubbed: list[str] = scrub(pl.Series(texts, dtype=pl.String)).texts.to_list()
    return scrubbed


def _candidates(texts: pl.Series, names: tuple[str, ...]) -> Iterator[tuple[int, str, str, list[Rule]]]:
    """Row, text, narrowed text and rules to try, of the texts in which a rule can match."""
    narrow = narrow_texts(texts)
    tries: dict[int, list[Rule]] = {}
    for name in names:
        rule = RULES[name]
        for position in narrow.str.contains(rule.anchor).fill_null(False).arg_true():
            tries.setdefault(position, []).append(rule)
    for position in sorted(tries):
        yield position, texts[position], narrow[position], tries[position]


def _replaced(text: str, spans: list[Span]) -> str:
    starts = [0, *(span.end for span in spans)]
    ends = [*(span.start for span in spans), len(text)]
    kept = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    rest = "".join(kept)[:_JUDGED]
    is_chinese = _LATIN_A_HAN * len(_HAN.findall(rest)) >= len(_LATIN.findall(rest))
    rules = [RULES[span.rule] for span in spans]
    placeholders = [rule.chinese if is_chinese else rule.english for rule in rules]
    return "".join(itertools.chain.from_iterable(zip(kept, [*placeholders, ""], strict=True)))


def _with_rows(texts: pl.Series, rows: dict[int, str]) -> pl.Series:
    if not rows:
        return texts
    return texts.clone().scatter(list(rows), list(rows.values()))
