"""What is changed in the texts of kept records: boilerplate goes, personal data is replaced."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.privacy.config import PrivacyConfig
from medpipe.curate.privacy.review import SCHEMA, sample_review
from medpipe.curate.privacy.scrub import scrub
from medpipe.curate.repeated_passages import RepeatedPassagesConfig, remove_repeated

_NAMES = ("role", "label")
"""Fields inside turns and options that are names and no text."""
_TEXTS = ("text", "system", "turns", "prompt", "chosen", "rejected", "question", "options")
"""Columns of records that hold what people wrote."""


@dataclass
class PrivacyLog:
    """What was replaced so far."""

    config: PrivacyConfig
    counts: Counter[str] = field(default_factory=Counter)
    """By rule."""
    review: pl.DataFrame = field(default_factory=lambda: SCHEMA.to_frame())
    """A masked sample for a person to read."""

    def scrub(self, records: pl.DataFrame) -> pl.DataFrame:
        """Records with personal data replaced in every text, also inside turns and options."""
        for name in (name for name in _TEXTS if name in records.columns):
            records = records.with_columns(self._scrubbed(records[name], records["id"]))
        return records

    def _scrubbed(self, column: pl.Series, ids: pl.Series) -> pl.Series:
        if column.dtype == pl.String:
            found = scrub(column, config=self.config, ids=ids)
            self.counts.update(found.counts)
            self.review = sample_review([self.review, found.review], per_rule=self.config.review_per_rule)
            return found.texts.alias(column.name)
        # One row an item of the list, scrubbed as a column of its own and put together again.
        items = pl.DataFrame({"row": pl.int_range(len(column), eager=True), column.name: column})
        items = items.filter(pl.col(column.name).list.len() > 0).explode(column.name)
        if items.is_empty():
            return column
        parts = items[column.name].struct.unnest()
        owners = ids.gather(items["row"])
        texts = [name for name in parts.columns if name not in _NAMES and parts.schema[name] == pl.String]
        parts = parts.with_columns(self._scrubbed(parts[name], owners) for name in texts)
        whole = items.select("row").with_columns(parts.to_struct(column.name))
        lists = whole.group_by("row", maintain_order=True).agg(pl.col(column.name))
        return _put_back(column, lists)


def _put_back(column: pl.Series, lists: pl.DataFrame) -> pl.Series:
    rows = pl.DataFrame({"row": pl.int_range(len(column), eager=True), "before": column})
    joined = rows.join(lists, on="row", how="left", maintain_order="left")
    return joined.select(pl.coalesce(column.name, "before").alias(column.name)).to_series().cast(column.dtype)


def without_repeated(
    records: pl.DataFrame, repeated: NDArray[np.uint64], *, config: RepeatedPassagesConfig
) -> tuple[pl.DataFrame, int]:
    """Documents without the boilerplate of their source, and how many passages were removed.

    A document of which nothing is left has an empty text.
    """
    removed = remove_repeated(records["text"], repeated, config=config)
    return records.with_columns(removed.texts.alias("text")), int(removed.counts.sum())
