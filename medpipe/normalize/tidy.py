"""Strings of fields without what only a writer of tables put there: stray symbols, `None`, `nan`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import polars as pl

from medpipe.normalize.clean import MAY_BE_DIRTY, clean_column

STRAY_AT_START = " \t\n,，、;；|•·。"
"""Colons, too, but for one before a digit: `:1000` is the end of a ratio (see `without_leading_colons`)."""
STRAY_AT_END = " \t\n,，、;；:：|•·。．."
_EMPTY_WORDS = ("none", "null", "nan", "nil", "undefined", "n/a", "#n/a", "<na>", "nat")
_EMPTY_MARKS = ("", "[]", "{}", "()", '""', "''", "-", "--", "—", "——", "/", "\\", "?", "？", "NaN", "NaT")
SAYS_NOTHING = (
    *_EMPTY_MARKS,
    *(spelling for word in _EMPTY_WORDS for spelling in (word, word.upper(), word.capitalize())),
)
_BETWEEN_PARTS = ",，、;；|。\n"
_MISSING = r"None|NONE|nan|NaN|NAN|null|Null|NULL|<NA>|NaT|undefined|\[\]|\{\}"
"""As writers of tables spell a missing value; `none` in lower case is a word of English prose."""
_EMPTY_PART = re.compile(rf"(?:^|[{_BETWEEN_PARTS}])[ \t]*(?:{_MISSING})[ \t]*(?=[{_BETWEEN_PARTS}]|\Z)")
_WRITTEN_BYTES = r"\\x[c-f][0-9a-f]\\x[89ab][0-9a-f]"
_BYTES = re.compile(r"\\x[c-f][0-9a-f](?:\\x[89ab][0-9a-f])+")
"""The bytes of one UTF-8 character."""
_MAY_HAVE_DOUBLED_STOP = r"。\s*。|。[！？!?]+$"
_DOUBLED_STOP = re.compile(r"。(?:\s*。)+")
_STOP_BEFORE_MARK = re.compile(r"。+([！？!?]+)\Z")
_LEADING_COLONS = rf"^[{STRAY_AT_START}]*[:：]"
_AT_START = re.compile(rf"[{STRAY_AT_START}:：]*")
_MAY_BE_UNTIDY = f"{MAY_BE_DIRTY}|{_WRITTEN_BYTES}|{_MISSING}|{_MAY_HAVE_DOUBLED_STOP}|{_LEADING_COLONS}"
"""Matches every string that needs more than its ends trimmed: one look instead of four."""


def tidy(column: pl.Series) -> pl.Series:
    """Cleans strings, takes stray symbols off their ends, and nulls what says nothing."""
    # Imported here: it brings a compiler, which definitions must not wait for.
    from medpipe.normalize.field_kernel import trim_column

    return trim_column(mended(column))


def mended(column: pl.Series) -> pl.Series:
    """Cleans strings and takes out what no writer meant; all of `tidy` but the trimming of their ends."""
    untidy = column.str.contains(_MAY_BE_UNTIDY).arg_true()
    if untidy.len():
        cleaned = clean_column(_with_characters(column.gather(untidy)))
        tidied = _without_doubled_stops(_without_empty_parts(cleaned))
        column = column.clone().scatter(untidy, _mended(tidied, _LEADING_COLONS, without_leading_colons))
    return column


def _with_characters(column: pl.Series) -> pl.Series:
    r"""`0\xe2\x80\x9312 weeks`, which Python prints for bytes, with the character that it stands for."""
    return _mended(column, _WRITTEN_BYTES, lambda text: _BYTES.sub(_character, text))


def _character(match: re.Match[str]) -> str:
    try:
        return bytes.fromhex(match[0].replace("\\x", "")).decode()
    except UnicodeDecodeError:
        return match[0]


def _without_empty_parts(column: pl.Series) -> pl.Series:
    """`头痛, None, 发热` without the part that some writer put for a missing value."""
    # Looking for the words alone first is many times faster: few texts hold one anywhere.
    return _mended(column, _MISSING, lambda text: _EMPTY_PART.sub("", text))


def _without_doubled_stops(column: pl.Series) -> pl.Series:
    def mend(text: str) -> str:
        return _STOP_BEFORE_MARK.sub(r"\1", _DOUBLED_STOP.sub("。", text))

    return _mended(column, _MAY_HAVE_DOUBLED_STOP, mend)


def without_leading_colons(text: str) -> str:
    """The text without stray symbols before and after the colons at its start, if there are any.

    A colon directly before a digit stays: without it, the end of the ratio `1:1000` would be a number of its
    own.
    """
    run = _AT_START.match(text)
    if run is None or not ({*run[0]} & {*":："}):
        return text
    keeps_colon = run[0][-1] in ":：" and text[run.end() : run.end() + 1].isdigit()
    return text[run.end() - keeps_colon :]


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
        return value.strip() in SAYS_NOTHING
    if type(value) is list:
        return all(says_nothing(item) for item in value)
    if type(value) is dict:
        return all(says_nothing(item) for item in value.values())
    return value is None or (type(value) is float and not math.isfinite(value))


def is_empty_word(text: str) -> bool:
    """Whether a string is only what some writer put for a missing value, such as `None` or `nan`."""
    return text.strip().lower() in _EMPTY_WORDS
