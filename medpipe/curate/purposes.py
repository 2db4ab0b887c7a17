"""The data sets of the corpus: which sources feed each, and what a source's records become in it."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from medpipe.catalog.source import Source, Use
from medpipe.curate.tier import tier
from medpipe.lake.dataset import Dataset
from medpipe.lake.parquet import scan_parts
from medpipe.normalize.templates import render_conversations
from medpipe.records.kinds import Kind, Tier, record_columns


class Purpose(StrEnum):
    """What records are curated for; also the name of the data set in the room `corpus`."""

    DOCUMENTS = "documents"
    """Text for pretraining."""
    CONVERSATIONS = "conversations"
    """Turns for supervised fine-tuning."""
    PREFERENCES = "preferences"
    """Pairs of answers for a reward model or DPO."""

    @property
    def kind(self) -> Kind:
        """The kind of its records."""
        return _KINDS[self]

    @property
    def schema(self) -> pl.Schema:
        """Columns of its records."""
        return record_columns(self.kind)

    def takes(self, source: Source) -> bool:
        """Whether the catalog lets a source feed it."""
        match self:
            case Purpose.DOCUMENTS:
                return source.feeds_pretraining
            case Purpose.CONVERSATIONS:
                return source.kind is Kind.CONVERSATION and Use.FINETUNING in source.uses
            case Purpose.PREFERENCES:
                return source.kind is Kind.PREFERENCE and Use.REWARD in source.uses

    def records(self, source: Source, normalized: Dataset) -> pl.LazyFrame:
        """A source's normalized records as this data set keeps them, one for one and in their order.

        Conversations become documents by the source's template; they keep their id and content key, so
        that the same question and answer published as a text is still the same content.
        """
        frame = scan_records(source, normalized)
        if self is not Purpose.DOCUMENTS:
            return frame.match_to_schema(self.schema)
        if source.kind is Kind.CONVERSATION:
            frame = render_conversations(frame, source.template)
            frame = frame.with_columns(tier=pl.lit(Tier.RAW.value, dtype=self.schema["tier"]))
        return frame.select(self.schema.names()).with_columns(tier=tier(pl.col("text")))


_KINDS = {
    Purpose.DOCUMENTS: Kind.DOCUMENT,
    Purpose.CONVERSATIONS: Kind.CONVERSATION,
    Purpose.PREFERENCES: Kind.PREFERENCE,
}


def scan_records(source: Source, normalized: Dataset) -> pl.LazyFrame:
    """A source's normalized records, without those that were rejected."""
    return scan_parts(normalized.files("part-*.parquet"), schema=record_columns(source.record_kind))
