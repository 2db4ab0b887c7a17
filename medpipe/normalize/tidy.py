"""Strings of fields without what only a writer of tables put there: stray symbols, `None`, `nan`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import polars as pl

from medpipe.normalize.clean import clean_column

_STRAY_AT_START = " \t\n,，、;；:：|•·。"
_STRAY_AT_END = " \t\n,，、;；:：|•·。．."
_EMPTY_WORDS = ("none", "null", "nan", "nil", "undefined", "n/a", "#n/a", "<na>", "nat")
_EMPTY_MARKS = ("", "[]", "{}", "()", '""', "''", "-", "--", "—", "——", "/", "\\", "?", "？", "NaN", "NaT")
_SAYS_NOTHING = [
    *_EMPTY_MARKS,
    *(spelling for word in _EMPTY_WORDS for spelling in (word, word.upper(), word.capitalize())),
]
_BETWEEN_PARTS = ",，、;；|。\n"
_MISSING = r"None|NONE|nan|NaN|NAN|null|Null|NULL|<NA>|NaT|undefined|\[\]|\{\}"
"""As writers of tables spell a missing value; `none` in lower case is a word of English prose."""
_EMPTY_PART = re.compile(rf"(?:^|[{_BETWEEN_PARTS}])[ \t]*(?:{_MISSING})[ \t]*(?=[{_BETWEEN_PARTS}]|\Z)")
_WRITTEN_BYTES = r"\\x[c-f][0-9a-f]\\x[89ab][0-9a-f]"
_BYTES = re.compile(r"\\x[c-f][0-9a-f](?:\\x[89ab][0-9a-f])+")
"""The bytes of one UTF-8 character."""
_CUT_OFF = "..."
"""A list item that the publisher's web site cut; the dots say so and stay."""
_MAY_HAVE_DOUBLED_STOP = r"。\s*。|。[！？!?]+$"
_DOUBLED_STOP = re.compile(r"。(?:\s*。)+")
_STOP_BEFORE_MARK = re.compile(r"。+([！？!?]+)\Z")


def tidy(column: pl.Series) -> pl.Series:
    """Cleans strings, takes stray symbols off their ends, and nulls what says nothing."""
    cleaned = clean_column(_with_characters(column))
    return _trimmed(_without_doubled_stops(_without_empty_parts(cleaned)))


def _with_characters(column: pl.Series) -> pl.Series:
    r"""`0\xe2\x80\x9312 weeks`, which Python prints for bytes, with the character that it stands for."""
    return _mended(column, _WRITTEN_BYTES, lambda text: _BYTES.sub(_character, text))


def _character(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match[0].replace("\\x", "")).decode()
    except UnicodeDecodeError:
        return match[0]


def _trimmed(column: pl.Series) -> pl.Series:
    text = pl.col("text").str.strip_chars_start(_STRAY_AT_START)
    trimmed = text.str.strip_chars_end(_STRAY_AT_END)
    if column.str.ends_with(_CUT_OFF).any():
        trimmed = pl.when(text.str.ends_with(_CUT_OFF)).then(text).otherwise(trimmed)
    frame = column.to_frame("text").select(trimmed)
    return frame.select(pl.when(pl.col("text").is_in(_SAYS_NOTHING).not_()).then(pl.col("text"))).to_series()


def _without_empty_parts(column: pl.Series) -> pl.Series:
    """`头痛, None, 发热` without the part that some writer put for a missing value."""
    # Looking for the words alone first is many times faster: few texts hold one anywhere.
    return _mended(column, _MISSING, lambda text: _EMPTY_PART.sub("", text))


def _without_doubled_stops(column: pl.Series) -> pl.Series:
    def mend(text: str) -> str:
        return _STOP_BEFORE_MARK.sub(r"\1", _DOUBLED_STOP.sub("。", text))

    return _mended(column, _MAY_HAVE_DOUBLED_STOP, mend)


def _mended(column: pl.Series, suspicious: str, mend: Callable[[str], str]) -> pl.Series:
    """The column with the few strings that match a Rust regular expression mended one by one."""
    suspects = column.str.contains(suspicious).arg_true()
    if suspects.is_empty():
        return column
    mended = [mend(text) for text in column.gather(suspects).to_list()]
    return column.clone().scatter(suspects, pl.Series(mended, dtype=pl.String))


def says_nothing(value: Any) -> bool:
    """Whether a JSON value renders to nothing; a number and a truth value always say something."""
    if type(value) is str:
        return value.strip() in _SAYS_NOTHING
    if type(value) is list:
        return all(says_nothing(item) for item in value)
    if type(value) is dict:
        return all(says_nothing(item) for item in value.values())
    return value is None or (type(value) is float and not math.isfinite(value))


def is_empty_word(text: str) -> bool:
    """Whether a string is only what some writer put for a missing value, such as `None` or `nan`."""
    return text.strip().lower() in _EMPTY_WORDS
