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

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from medpipe.normalize.field_values import Columns, Gathered, gather
from medpipe.normalize.labels import Field, label, wording
from medpipe.records.kinds import Language


def render_records(columns: Columns, language: Language) -> pl.Series:
    """Fields of many records as labelled clauses, one text a record.

    Args:
        columns: fields in their order, each with its values; a field may stand there twice, for records that
            have it under two spellings.
        language: of labels, joiners, end marks and truth values.

    Returns:
        String; null where a record has no value at all. A clause is followed by the language's full stop
        unless it ends with a mark of its own; the last one stays without. A field that says the same twice
        is written once.
    """
    # Imported here: it brings a compiler, which definitions must not wait for.
    from medpipe.normalize.field_kernel import join_clauses

    gathered = _without_repeats(columns, gather(columns, language), language)
    words = wording(language)
    labels = [label(field, language) + words.colon for field, _ in columns]
    return join_clauses(gathered.strings, gathered.counts, labels, words)


def render_column(values: Sequence[Any], field: Field, language: Language) -> pl.Series:
    """One field of many records as text, by the rule table.

    Args:
        values: the field's JSON values, None where a record lacks it.
        field: gives the unit of bare numbers.
        language: of joiners, labels and truth values.

    Returns:
        String, null where a value says nothing.
    """
    return _joined(gather([(field, list(values))], language), 0, len(values), language)


def _joined(gathered: Gathered, start: int, end: int, language: Language) -> pl.Series:
    """The text of each value from one to another; null where nothing is left."""
    from medpipe.normalize.field_kernel import trim_column

    before = int(gathered.counts[:start].sum())
    counts = gathered.counts[start:end]
    owners = pl.Series(np.repeat(np.arange(len(counts)), counts), dtype=pl.Int64)
    strings = trim_column(gathered.strings.slice(before, len(owners)))
    items = pl.DataFrame({"owner": owners, "item": strings}).drop_nulls()
    texts = items.group_by("owner").agg(pl.col("item").str.join(wording(language).item))
    everyone = pl.DataFrame({"owner": pl.int_range(len(counts), dtype=pl.Int64, eager=True)})
    return everyone.join(texts, on="owner", how="left", maintain_order="left")["item"]


def _without_repeats(columns: Columns, gathered: Gathered, language: Language) -> Gathered:
    """Nulls what a field says a second time under another spelling."""
    strings, counts = gathered
    height = len(counts) // len(columns)
    for later, (field, _) in enumerate(columns):
        for before in range(later):
            if columns[before][0] is not field:
                continue
            said, again = (
                _joined(Gathered(strings, counts), number * height, (number + 1) * height, language)
                for number in (before, later)
            )
            repeated = (said == again).fill_null(False).to_numpy()
            first = int(counts[: later * height].sum())
            places = (
                np.flatnonzero(np.repeat(repeated, counts[later * height : (later + 1) * height])) + first
            )
            strings = strings.scatter(pl.Series(places, dtype=pl.Int64), None)
    return Gathered(strings, counts)
