"""Values of multi-field records, gathered from many records into one column of strings.

Cleaning works on whole columns: strings are taken out of their values, all of a batch together, and the few
values that are no strings are put together again from the cleaned ones. The rules stand in `fields`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.normalize.labels import Field, Wording, find_field, label, unit, wording
from medpipe.normalize.literals import literal_value
from medpipe.normalize.tidy import mended, says_nothing, tidy
from medpipe.records.kinds import Language


class PlainColumn(NamedTuple):
    """A field of many records that holds strings and lists of strings, taken out of their values already."""

    strings: pl.Series
    """String, without nulls: those of all records, one after the other."""
    counts: NDArray[np.int64]
    """How many of them are of each record."""


MAY_BE_LITERAL = re.compile(r"\s*[\[{]")
"""How a string starts that may spell out a list or an object, as a table's cell does."""

Column = PlainColumn | list[Any]
"""A field of many records: their JSON values, None where a record lacks it, or what was taken out of them."""
Columns = Sequence[tuple[Field, Column]]
"""Fields with their columns, equally long."""


class Gathered(NamedTuple):
    """The values of some columns, one column after the other, as strings."""

    strings: pl.Series
    """String, mended but not trimmed."""
    counts: NDArray[np.int64]
    """How many of them are of each value."""


class _Other(NamedTuple):
    """A value that is neither a string nor a list of strings."""

    place: int
    """Index of the string that it becomes."""
    field: Field
    value: Any


def gather(columns: Columns, language: Language) -> Gathered:
    """Takes the strings out of values and mends them.

    Args:
        columns: as described.
        language: of the joiners, labels and truth values in what becomes of odd values.
    """
    strings: list[pl.Series] = []
    counts: list[NDArray[np.int64]] = []
    others: list[_Other] = []
    height = 0
    for each, column in columns:
        plain = column if isinstance(column, PlainColumn) else _taken_out(column, each, height, others)
        strings.append(plain.strings)
        counts.append(plain.counts)
        height += len(plain.strings)
    # All at once: what is done to a column costs about the same for few strings as for many.
    texts = mended(pl.concat(strings))
    if others:
        places = pl.Series([other.place for other in others], dtype=pl.Int64)
        texts = texts.scatter(places, _rendered(others, language))
    return Gathered(texts, np.concatenate(counts))


def _rendered(others: Sequence[_Other], language: Language) -> pl.Series:
    strings: list[str] = []
    for other in others:
        _collect(other.value, strings)
    tidied = iter(tidy(pl.Series(strings, dtype=pl.String)).to_list())
    words = wording(language)
    texts = [_render(each.value, tidied, words, language, unit(each.field, language)) for each in others]
    return pl.Series(texts, dtype=pl.String)


def _taken_out(values: Sequence[Any], kind: Field, before: int, others: list[_Other]) -> PlainColumn:
    """The strings of a column; those that other values will become are empty, and their places are noted."""
    strings: list[str] = []
    counts: list[int] = []
    for value in values:
        if type(value) is str and MAY_BE_LITERAL.match(value):
            spelled_out = literal_value(value)
            value = value if spelled_out is None else spelled_out
        if kind.paragraphs and type(value) is list and _holds_only_strings(value):
            value = "\n".join(item.strip() for item in value if not says_nothing(item))
        if type(value) is list and _holds_only_strings(value):
            strings += value
            counts.append(len(value))
        elif value is None:
            counts.append(0)
        else:
            if type(value) is not str:
                others.append(_Other(before + len(strings), kind, value))
            strings.append(value if type(value) is str else "")
            counts.append(1)
    return PlainColumn(pl.Series(strings, dtype=pl.String), np.array(counts, np.int64))


def _holds_only_strings(items: list[Any]) -> bool:
    return {*map(type, items)} <= {str}


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
