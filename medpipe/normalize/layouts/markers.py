"""Markers in strings: `问：` at the ends of a question, `<user>:` before a turn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import polars as pl

_COLONS = ":："
_STOPS = r"\n。！？!?；;….~～）)】」』”\">"
"""A marker that is a word counts at the start or after one of these: `医生问：` holds no `问：`."""


def strip_markers(column: pl.Series, markers: Sequence[str]) -> pl.Series:
    """Takes markers off both ends of each string, as many as there are, with the blanks around them.

    Case does not matter, and a marker that ends with a colon stands for the full-width and the ASCII one. At
    the end of a string a marker that starts with a letter must follow the end of a line or of a sentence.

    Args:
        column: String.
        markers: such as `问：` and `<s>`.
    """
    if not markers:
        return column
    patterns = {marker: _pattern(marker) for marker in sorted(markers, key=len, reverse=True)}
    every = "|".join(patterns.values())
    words = [pattern for marker, pattern in patterns.items() if _is_word(marker.strip()[0])]
    symbols = [pattern for marker, pattern in patterns.items() if not _is_word(marker.strip()[0])]
    last_ones = []
    if words:
        last_ones.append(rf"(?P<stop>^|[{_STOPS}])\s*(?:{'|'.join(words)})")
    if symbols:
        last_ones.append(rf"\s*(?:{'|'.join(symbols)})")
    at_start = rf"(?i)^(?:\s*(?:{every}))+"
    at_end = rf"(?i)(?:{'|'.join(last_ones)})(?:\s*(?:{every}))*\s*$"
    text = pl.col("text").str.replace(at_start, "").str.replace(at_end, "${stop}" if words else "")
    return column.to_frame("text").select(text.str.strip_chars()).to_series().alias(column.name)


def _is_word(character: str) -> bool:
    return re.match(r"\w", character) is not None


def _pattern(marker: str) -> str:
    """A marker as a regular expression, for Rust."""
    marker = marker.strip()
    name = marker.rstrip(_COLONS + " ")
    pattern = pl.escape_regex(name)
    if name != marker:
        return rf"{pattern}\s*[{_COLONS}]"
    return rf"{pattern}\b" if _is_word(name[-1]) else pattern


def speaker_name(name: str) -> str:
    """A role's name or prefix without its colon and in lower case: `<user>:` becomes `<user>`."""
    return name.strip(_COLONS + " ").casefold()


def speaker_pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Matches the prefix of a turn, `<user>:` or `问 ：`, with its name as the first group.

    A name that is a word counts at the start of a line or after the end of a sentence, and needs its colon; a
    name in brackets counts anywhere, and needs one only if it was given with one.
    """
    words, symbols = [], []
    for name in sorted(set(names), key=len, reverse=True):
        bare = name.strip(_COLONS + " ")
        if _is_word(bare[0]):
            words.append(re.escape(bare))
        else:
            needs_colon = bare != name.strip()
            symbols.append(re.escape(bare) + (rf"(?=\s*[{_COLONS}])" if needs_colon else ""))
    spoken = []
    if words:
        spoken.append(rf"(?<![^{_STOPS}])\s*(?P<word>{'|'.join(words)})\s*[{_COLONS}]")
    if symbols:
        spoken.append(rf"\s*(?P<symbol>{'|'.join(symbols)})\s*[{_COLONS}]?")
    return re.compile("|".join(spoken) or r"(?!)", re.IGNORECASE)
