"""Finding personal data in one text."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import NamedTuple

from medpipe.curate.privacy.rule import PERSONAL, Rule


class Span(NamedTuple):
    """Characters of a text that a rule claims."""

    start: int
    end: int
    rule: str
    """Versioned name."""


def find_spans(text: str, rules: Sequence[Rule]) -> list[Span]:
    """All personal data of a text, in order and without overlap; of two claims the earlier rule's stands.

    Args:
        text: narrowed, see `narrow_texts`.
        rules: in order of precedence.
    """
    spans: list[Span] = []
    for rule in rules:
        for match in rule.matches(text):
            span = Span(*match.span(PERSONAL), rule.name)
            place = bisect(spans, span)
            is_free = (place == 0 or spans[place - 1].end <= span.start) and (
                place == len(spans) or span.end <= spans[place].start
            )
            if is_free:
                spans.insert(place, span)
    return spans
