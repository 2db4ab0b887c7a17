"""Values of multi-field records as text: the rule table.

| value | becomes |
| --- | --- |
| string | its text without stray symbols at the ends, and without parts that are only `None` or `nan` |
| string that spells out a list or an object | what that list or object becomes |
| list | its items with the language's list joiner, never `[]`; headings and sentences a line each |
| object | labelled parts |
| int, float | its digits, with the field's unit where there is one |
| bool | 是 / 否, yes / no |
| null, empty, `None`, `null`, `nan` | nothing |
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from medpipe.normalize.labels import Field, Wording, find_field, label, unit, wording
from medpipe.normalize.literals import literal_value
from medpipe.normalize.tidy import says_nothing, tidy
from medpipe.records.kinds import Language

_ENDS_BY_ITSELF = r"[！？!?]$|[。！？!?…][”’」』\"）)]+$"


def render_columns(columns: Sequence[tuple[Field, Sequence[Any]]], language: Language) -> list[pl.Series]:
    """Fields of many records as text, by the rule table.

    Args:
        columns: fields with their JSON values, None where a record lacks the field; equally many of each.
        language: of joiners, labels and truth values.

    Returns:
        String, a column a field; null where a value says nothing.
    """
    words = wording(language)
    gathered = _gather(columns)
    simple = len(gathered.strings)
    for other in gathered.others:
        _collect(other.value, gathered.strings)
    # All at once: what is done to a column costs about the same for few strings as for many.
    tidied = tidy(pl.Series(gathered.strings, dtype=pl.String))
    texts = _join_items(tidied.head(simple), gathered.counts, words.item)
    if gathered.others:
        strings = iter(tidied.slice(simple).to_list())
        rendered = [
            _render(other.value, strings, words, language, unit(other.field, language))
            for other in gathered.others
        ]
        places = [other.place for other in gathered.others]
        texts = texts.scatter(places, pl.Series(rendered, dtype=pl.String))
    height = len(columns[0][1]) if columns else 0
    return [texts.slice(number * height, height) for number in range(len(columns))]


def render_column(values: Sequence[Any], field: Field, language: Language) -> pl.Series:
    """`render_columns` for one field."""
    return render_columns([(field, values)], language)[0]


class _Other(NamedTuple):
    """A value that is neither a string nor a list of strings."""

    place: int
    field: Field
    value: Any


class _Gathered(NamedTuple):
    """The values of some columns, one column after the other."""

    strings: list[str]
    """All strings, those of lists one by one."""
    counts: list[int]
    """How many of them are of each value."""
    others: list[_Other]


def _gather(columns: Sequence[tuple[Field, Sequence[Any]]]) -> _Gathered:
    strings: list[str] = []
    counts: list[int] = []
    others: list[_Other] = []
    for field, values in columns:
        items = _plain_items(values)
        if items is not None and not field.paragraphs:
            strings += items.strings
            counts += items.counts
            continue
        for value in values:
            if type(value) is str and _may_be_literal(value):
                value = _spelled_out(value)
            if field.paragraphs and type(value) is list and _holds_only_strings(value):
                value = "\n".join(item.strip() for item in value if not says_nothing(item))
            if type(value) is str:
                strings.append(value)
                counts.append(1)
            elif type(value) is list and _holds_only_strings(value):
                strings += value
                counts.append(len(value))
            else:
                if value is not None:
                    others.append(_Other(len(counts), field, value))
                counts.append(0)
    return _Gathered(strings, counts, others)


class _Plain(NamedTuple):
    """Values of a column that are all strings, or all lists of strings."""

    strings: list[str]
    counts: list[int]


def _plain_items(values: Sequence[Any]) -> _Plain | None:
    """What `_gather` makes of the common columns, many times faster; None for all others."""
    kinds = {*map(type, values)} - {type(None)}
    if kinds == {str}:
        strings = [value for value in values if value is not None]
        if any(map(_may_be_literal, strings)):
            return None
        return _Plain(strings, [value is not None for value in values])
    if kinds == {list}:
        items = list(itertools.chain.from_iterable(filter(None, values)))
        if {*map(type, items)} <= {str}:
            return _Plain(items, [len(value) if value else 0 for value in values])
    return None


def _may_be_literal(text: str) -> bool:
    return text.lstrip().startswith(("[", "{"))


def _spelled_out(text: str) -> Any:
    """The list or object that a table's cell holds as text; any other text as it is."""
    value = literal_value(text)
    return text if value is None else value


def _holds_only_strings(items: list[Any]) -> bool:
    return set(map(type, items)) <= {str}


def _join_items(strings: pl.Series, counts: Sequence[int], joiner: str) -> pl.Series:
    """One text of each run of strings without its nulls; null where nothing is left.

    Args:
        strings: String, the runs one after the other.
        counts: how many strings each run has.
        joiner: stands between two of them.
    """
    import pyarrow as pa

    # By way of Polars: pyarrow would import pandas to read an array of NumPy.
    ends = pl.Series(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])).to_arrow()
    runs = pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(ends, strings.to_arrow())))
    text = pl.col("text")
    joined = runs.list.join(joiner, ignore_nulls=True).to_frame("text")
    return joined.select(pl.when(text != "").then(text)).to_series()


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
    height = columns[0][1].len()
    labels = pl.Series([label(field, language) + words.colon for field, _ in columns])
    values = pl.DataFrame(
        {
            "label": labels.gather(np.repeat(np.arange(len(columns)), height)),
            "text": pl.concat([column for _, column in columns]),
        }
    )
    ends_by_itself = pl.col("text").str.contains(_ENDS_BY_ITSELF)
    end = pl.when(ends_by_itself).then(pl.lit(words.after_mark)).otherwise(pl.lit(words.stop))
    clauses = values.select(pl.concat_str("label", "text", end)).to_series()
    frame = pl.DataFrame(
        [clauses.slice(number * height, height).alias(str(number)) for number in range(len(columns))]
    )
    text = pl.concat_str(pl.all(), ignore_nulls=True).str.strip_suffix(words.stop).str.strip_chars_end()
    return frame.select(text.alias("text")).select(pl.when(pl.col("text") != "").then("text")).to_series()
