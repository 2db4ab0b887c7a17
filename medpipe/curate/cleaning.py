"""What is changed in the texts of kept records: boilerplate goes, personal data is replaced."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from medpipe.curate.privacy.config import PrivacyConfig
from medpipe.curate.privacy.review import SCHEMA, sample_review
from medpipe.curate.privacy.scrub import scrub
from medpipe.curate.repeated_passages import (
    RepeatedPassagesConfig,
    find_repeated_passages,
    remove_repeated,
)

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


ONLY_BOILERPLATE = "only_repeated_passages"
"""Reason for documents of which too little is left without the boilerplate of their source."""
_MOST_SHOWN = 20
_UNANSWERED = (
    r"(?:\[(?i:question|answer|user|assistant)\]|(?m:^(?:Instruction|Output):))"
    r"\s*(?:\[(?i:question|answer|user|assistant)\]|\nOutput:|\z)"
)
"""A role marker with nothing behind it."""


class PassageRemoval:
    """Takes the boilerplate of one source out of its documents, and counts it."""

    def __init__(
        self,
        documents: pl.LazyFrame,
        *,
        counted: pl.Series,
        folder: Path,
        config: RepeatedPassagesConfig,
        minimum_characters: int,
    ) -> None:
        """Finds the boilerplate.

        Args:
            documents: all documents of the source; column `text`.
            counted: Boolean, row for row: those that are kept so far. Duplicates must not be among them, so
                that what is copied often is not taken for boilerplate.
            folder: for temporary files.
            config: what boilerplate is.
            minimum_characters: least length of what is left of a document, spaces not counted.
        """
        self._repeated = find_repeated_passages(documents, folder=folder, counted=counted, config=config)
        self._config = config
        self._least = minimum_characters
        self._removed: Counter[int] = Counter()
        self._shown: dict[int, str] = {}

    def remove(self, records: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Documents without boilerplate, and those that are rejected for it, as they were.

        Returns:
            The columns of `records`; the second table has `reason` and `detail`, too. A document is rejected
            if it becomes shorter than the least length, or if a turn of a conversation becomes empty.
        """
        found = remove_repeated(records["text"], self._repeated.hashes, config=self._config)
        for value, passage, removed in found.passages.iter_rows():
            self._removed[value] += removed
            self._shown.setdefault(value, passage)
        text = pl.lit(found.texts)
        is_too_little = (text.str.count_matches(r"\S") < self._least) | text.str.contains(_UNANSWERED)
        is_lost = records.select(is_lost=pl.lit(found.counts > 0) & is_too_little)["is_lost"]
        lost = records.filter(is_lost).with_columns(
            reason=pl.lit(ONLY_BOILERPLATE), detail=pl.lit(None, dtype=pl.String)
        )
        return records.with_columns(found.texts.alias("text")).filter(~is_lost), lost

    def facts(self) -> dict[str, Any]:
        """How many passages were removed, and the most frequent of them.

        Returns:
            `removed`, `different`, and `passages`: the beginning of each with personal data replaced, in how
            many kept documents it stands and how often it was removed.
        """
        documents = dict(zip(self._repeated.hashes.tolist(), self._repeated.documents.tolist(), strict=True))
        most = sorted(self._removed.items(), key=lambda item: (-item[1], self._shown[item[0]]))[:_MOST_SHOWN]
        passages = scrub(pl.Series([self._shown[value] for value, _ in most], dtype=pl.String)).texts
        return {
            "removed": self._removed.total(),
            "different": len(self._removed),
            "passages": [
                {"passage": passage, "documents": documents[value], "removed": removed}
                for passage, (value, removed) in zip(passages, most, strict=True)
            ],
        }
