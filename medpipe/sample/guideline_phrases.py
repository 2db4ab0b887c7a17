"""Wording of the English documents: a phrase book that picks one of several patterns at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from medpipe.sample.general_facts import load_facts


@cache
def load_patterns(table: str) -> dict[str, Any]:
    """Reads a table of English sentence patterns.

    Args:
        table: file name of the table.

    Returns:
        The patterns by their use.
    """
    patterns: dict[str, Any] = load_facts(table)
    return patterns


def capitalised(text: str) -> str:
    """Returns `text` with a capital first letter and the rest as it is."""
    return text[:1].upper() + text[1:]


def listed(items: Sequence[str]) -> str:
    """Returns the items as an English enumeration with a final "and"."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


class PhraseBook:
    """Picks patterns with one random generator and fills in the facts."""

    def __init__(self, table: str, random_: random.Random) -> None:
        self._patterns = load_patterns(table)
        self._random = random_

    def say(self, use: str, group: str | None = None, **facts: str | int) -> str:
        """Picks one pattern and fills it.

        Args:
            use: the key of the patterns.
            group: second key, where the patterns are grouped.
            facts: values for the fields; every text is also offered with a capital first letter.

        Returns:
            The finished sentence or phrase.
        """
        choices = self._patterns[use] if group is None else self._patterns[use][group]
        capitals = {capitalised(key): capitalised(str(value)) for key, value in facts.items()}
        filled: str = self._random.choice(choices).format(**facts, **capitals)
        return filled

    def some(self, items: Sequence[str], at_most: int) -> list[str]:
        """Draws up to `at_most` of the items without repeats, in random order."""
        return self._random.sample(items, min(at_most, len(items)))

    def number(self, low: int, high: int) -> int:
        """Draws a whole number between the two bounds, both included."""
        return self._random.randint(low, high)
