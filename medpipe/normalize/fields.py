"""Values of multi-field records as text: the rule table.

| value | becomes |
| --- | --- |
| string | its text without stray symbols at the ends |
| list | its items with the language's list joiner, never `[]` |
| object | labelled parts |
| int, float | its digits, with the field's unit where there is one |
| bool | 是 / 否, yes / no |
| null, empty, `None`, `null`, `nan` | nothing |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from medpipe.normalize.clean import clean_column
from medpipe.normalize.labels import Field, Wording, find_field, label, unit, wording
from medpipe.records.kinds import Language

_STRAY_AT_START = " \t\n,，、;；:：|•·。"
_STRAY_AT_END = " \t\n,，、;；:：|•·。．."
_EMPTY_WORDS = ("none", "null", "nan", "nil", "undefined", "n/a", "#n/a", "<na>", "nat")
_EMPTY_MARKS = ("", "[]", "{}", "()", '""', "''", "-", "--", "—", "——", "/", "\\", "?", "？", "NaN", "NaT")
_SAYS_NOTHING = [
    *_EMPTY_MARKS,
    *(spelling for word in _EMPTY_WORDS for spelling in (word, word.upper(), word.capitalize())),
]
_DOUBLED_STOP = r"。(?:\s*。)+"
_STOP_BEFORE_MARK = r"。+([！？!?]+)$"
_ENDS_BY_ITSELF = r"[！？!?]$|[。！？!?…][”’」』\"）)]+$"


def tidy(column: pl.Series) -> pl.Series:
    """Cleans strings, takes stray symbols off their ends, and nulls what says nothing."""
    text = pl.col("text")
    column = clean_column(column)
    if column.str.contains(_DOUBLED_STOP).any():
        text = text.str.replace_all(_DOUBLED_STOP, "。")
    text = text.str.replace(_STOP_BEFORE_MARK, "${1}")
    text = text.str.strip_chars_start(_STRAY_AT_START).str.strip_chars_end(_STRAY_AT_END)
    frame = column.to_frame("text").select(text)
    return frame.select(pl.when(pl.col("text").is_in(_SAYS_NOTHING).not_()).then(pl.col("text"))).to_series()


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


def render_column(values: Sequence[Any], field: Field, language: Language) -> pl.Series:
    """One field of many records as text, by the rule table.

    Args:
        values: the field's JSON values, None where a record lacks it.
        field: gives the unit of bare numbers.
        language: of joiners, labels and truth values.

    Returns:
        String, null where a value says nothing.
    """
    if all(value is None or type(value) is str for value in values):
        return tidy(pl.Series(values, dtype=pl.String))
    words, suffix = wording(language), unit(field, language)
    if all(value is None or _holds_only_strings(value) for value in values):
        return _join_string_lists(values, words.item)
    strings: list[str] = []
    for value in values:
        _collect(value, strings)
    tidied = iter(tidy(pl.Series(strings, dtype=pl.String)).to_list())
    return pl.Series([_render(value, tidied, words, language, suffix) for value in values], dtype=pl.String)


def _holds_only_strings(value: Any) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def _join_string_lists(lists: Sequence[list[str] | None], joiner: str) -> pl.Series:
    """What `_render` makes of lists of strings, for a whole column at once: the common case."""
    lengths = [len(items or ()) for items in lists]
    strings = pl.Series([item for items in lists for item in items or ()], dtype=pl.String)
    owners = pl.Series(np.repeat(np.arange(len(lists)), lengths), dtype=pl.Int64)
    joined = (
        pl.DataFrame({"owner": owners, "item": tidy(strings)})
        .drop_nulls()
        .group_by("owner", maintain_order=True)
        .agg(pl.col("item").str.join(joiner))
    )
    everyone = pl.DataFrame({"owner": pl.int_range(len(lists), dtype=pl.Int64, eager=True)})
    return everyone.join(joined, on="owner", how="left", maintain_order="left")["item"]


def _collect(value: Any, strings: list[str]) -> None:
    """All strings of a value in the order in which `_render` takes them back, keys included."""
    if type(value) is str:
        strings.append(value)
    elif type(value) is list:
        for item in value:
            if type(item) is str:
                strings.append(item)
            else:
                _collect(item, strings)
    elif type(value) is dict:
        for key, item in value.items():
            strings.append(key)
            _collect(item, strings)


def _render(
    value: Any, tidied: Iterator[str | None], words: Wording, language: Language, suffix: str
) -> str | None:
    kind = type(value)
    if kind is str:
        return next(tidied)
    if kind is list:
        return _render_list(value, tidied, words, language, suffix)
    if kind is dict:
        return _render_object(value, tidied, words, language, suffix)
    if kind is bool:
        return words.true if value else words.false
    if kind is int or kind is float:
        digits = number_text(value)
        return None if digits is None else digits + _suffix_for(value, suffix)
    return None


def _render_list(
    items: list[Any], tidied: Iterator[str | None], words: Wording, language: Language, suffix: str
) -> str | None:
    parts = []
    for item in items:
        part = next(tidied) if type(item) is str else _render(item, tidied, words, language, suffix)
        if part is not None:
            parts.append(part)
    nested = any(type(item) is dict or type(item) is list for item in items)
    return (words.part if nested else words.item).join(parts) if parts else None


def _render_object(
    value: dict[str, Any], tidied: Iterator[str | None], words: Wording, language: Language, suffix: str
) -> str | None:
    parts: dict[str, str] = {}
    unlabelled: list[str] = []
    for key, item in value.items():
        name = next(tidied)
        known = find_field(key)
        part = _render(item, tidied, words, language, unit(known, language) if known else "")
        if part is None or key == "$oid":
            continue
        if name is None or key.startswith("$"):
            unlabelled.append(part)
        else:
            title = label(known, language) if known else name.replace("_", " ")
            title = name if title in parts else title
            parts[title] = words.item.join([parts[title], part]) if title in parts else part
    quantity = parts["value"] + parts.pop("unit") if {"value", "unit"} <= parts.keys() else None
    clauses = [
        quantity if name == "value" and quantity else f"{name}{words.colon}{part}"
        for name, part in parts.items()
    ]
    return words.part.join([*unlabelled, *clauses]) or None


def number_text(value: int | float) -> str | None:
    """A number's digits without exponent; None for NaN and infinity."""
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f") if math.isfinite(value) else None
    return str(value)


def _suffix_for(value: int | float, suffix: str) -> str:
    # 0.4 may be 0.4 % or the fraction that is 40 %: it stays bare rather than become wrong.
    return "" if suffix == "%" and -1 <= value <= 1 and value != 0 else suffix


def join_clauses(columns: Sequence[tuple[Field, pl.Series]], language: Language) -> pl.Series:
    """Labelled clauses of many records as one text each.

    Args:
        columns: the fields in their order, each with its rendered values.
        language: of labels and end marks.

    Returns:
        String; null where a record has no value at all. A clause is followed by the language's full stop
        unless it ends with a mark of its own; the last one stays without.
    """
    words = wording(language)
    if not columns:
        return pl.Series(dtype=pl.String)
    frame = pl.DataFrame([column.alias(str(position)) for position, (_, column) in enumerate(columns)])
    clauses = [
        pl.concat_str(
            pl.lit(label(field, language) + words.colon),
            pl.col(str(position)),
            pl.when(pl.col(str(position)).str.contains(_ENDS_BY_ITSELF))
            .then(pl.lit(words.after_mark))
            .otherwise(pl.lit(words.stop)),
        )
        for position, (field, _) in enumerate(columns)
    ]
    text = pl.concat_str(clauses, ignore_nulls=True).str.strip_suffix(words.stop).str.strip_chars_end()
    return frame.select(pl.when(text != "").then(text)).to_series()
