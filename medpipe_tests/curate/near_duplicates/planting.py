"""Texts of invented words with near-duplicates of a chosen similarity, and their exact similarity."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

_HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 900)]
_SYLLABLES = [
    "ba",
    "cor",
    "dia",
    "fen",
    "gas",
    "hep",
    "itis",
    "kar",
    "lin",
    "myo",
    "neu",
    "oma",
    "pul",
    "ren",
]


class Pair(NamedTuple):
    """Two texts and how similar they are."""

    one: str
    other: str
    similarity: float


def chinese_characters(random: Random, count: int) -> list[str]:
    """Characters drawn so that some are frequent, as in a language."""
    return [_HAN[int(len(_HAN) * random.random() ** 2)] for _ in range(count)]


def english_words(random: Random, count: int) -> list[str]:
    """Words of one to three syllables."""
    return ["".join(random.choices(_SYLLABLES, k=random.randint(1, 3))) for _ in range(count)]


def shingle_set(units: list[str], size: int = 5) -> frozenset[tuple[str, ...]]:
    """All runs of `size` units; a text with fewer is one."""
    if len(units) < size:
        return frozenset([tuple(units)]) if units else frozenset()
    return frozenset(tuple(units[at : at + size]) for at in range(len(units) - size + 1))


def jaccard(one: list[str], other: list[str], size: int = 5) -> float:
    """Exact similarity of two texts given as units."""
    left, right = shingle_set(one, size), shingle_set(other, size)
    return len(left & right) / max(1, len(left | right))


def edited(
    units: list[str], similarity: float, random: Random, fresh: Callable[[Random, int], list[str]]
) -> list[str]:
    """The units with replacements, deletions and insertions at random places until they are less similar."""
    changed = list(units)
    original = shingle_set(units)
    while True:
        current = shingle_set(changed)
        if len(original & current) <= similarity * len(original | current):
            break
        at = random.randrange(len(changed))
        action = random.random()
        if action < 0.5:
            changed[at] = fresh(random, 1)[0]
        elif action < 0.75:
            del changed[at]
        else:
            changed.insert(at, fresh(random, 1)[0])
    return changed


def plant(seed: int, count: int, *, english: bool, levels: tuple[float, ...]) -> list[Pair]:
    """Pairs of a text and its edited copy; lengths and layouts differ."""
    random = Random(seed)
    fresh = english_words if english else chinese_characters
    pairs = []
    for number in range(count):
        units = fresh(random, random.randint(60, 500))
        copy = edited(units, levels[number % len(levels)], random, fresh)
        pairs.append(
            Pair(_laid_out(units, english, random), _laid_out(copy, english, random), jaccard(units, copy))
        )
    return pairs


def _laid_out(units: list[str], english: bool, random: Random) -> str:
    """As text, with punctuation, line breaks and capitals that no shingle should depend on."""
    marks = [", ", ". ", "\n", "; "] if english else ["，", "。\n", "　", "、", "  "]
    text = []
    for at, unit in enumerate(units):
        text.append(unit.capitalize() if english and random.random() < 0.1 else unit)
        if random.random() < 0.08:
            text.append(random.choice(marks))
        elif english and at < len(units) - 1:
            text.append(" ")
    return "".join(text)
