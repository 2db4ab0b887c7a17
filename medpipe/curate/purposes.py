"""The data sets of the corpus: which sources feed each, and what a source's records become in it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import polars as pl

from medpipe.catalog.source import Source, Use
from medpipe.lake.dataset import Dataset
from medpipe.lake.parquet import read_batches, scan_parts
from medpipe.normalize.templates import render_conversations
from medpipe.records.keys import joined_content
from medpipe.records.kinds import Kind, Tier, record_columns

REJECTED = "rejected"
"""Folder of what was left out, beside those of the sources."""


class Purpose(StrEnum):
    """What records are curated for; also the name of the data set in the room `corpus`."""

    DOCUMENTS = "documents"
    """Text for pretraining."""
    CONVERSATIONS = "conversations"
    """Turns for supervised fine-tuning."""
    PREFERENCES = "preferences"
    """Pairs of answers for a reward model or DPO."""
    EXAMS = "exams"
    """Items that a model is measured with; never trained on."""

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
            case Purpose.EXAMS:
                return source.kind is Kind.EXAM_ITEM and Use.EVALUATION in source.uses

    def records(self, source: Source, normalized: Dataset) -> pl.LazyFrame:
        """A source's normalized records as this data set keeps them, one for one and in their order.

        Conversations become documents by the source's template; they keep their id and content key, so
        that the same question and answer published as a text is still the same content.
        """
        return self._of(source, scan_records(source, normalized))

    def batches(self, source: Source, normalized: Dataset, *, rows: int) -> Iterator[pl.DataFrame]:
        """What `records` gives, at most so many rows at a time; see `read_batches`."""
        for batch in _record_batches(source, normalized, rows):
            yield self._of(source, batch.lazy()).collect()

    def _of(self, source: Source, frame: pl.LazyFrame) -> pl.LazyFrame:
        if self is not Purpose.DOCUMENTS:
            return frame.match_to_schema(self.schema)
        if source.kind is Kind.CONVERSATION:
            frame = render_conversations(frame, source.template)
            frame = frame.with_columns(tier=pl.lit(Tier.RAW.value, dtype=self.schema["tier"]))
        return frame.select(self.schema.names())


_KINDS = {
    Purpose.DOCUMENTS: Kind.DOCUMENT,
    Purpose.CONVERSATIONS: Kind.CONVERSATION,
    Purpose.PREFERENCES: Kind.PREFERENCE,
    Purpose.EXAMS: Kind.EXAM_ITEM,
}


def kept_parts(corpus: Dataset) -> list[Path]:
    """The files of a data set of the corpus that hold its records, without what was rejected."""
    return [path for path in corpus.files("*/part-*.parquet") if path.parent.name != REJECTED]


def scan_records(source: Source, normalized: Dataset) -> pl.LazyFrame:
    """A source's normalized records, without those that were rejected."""
    return scan_parts(normalized.files("part-*.parquet"), schema=record_columns(source.record_kind))


def _record_batches(source: Source, normalized: Dataset, rows: int) -> Iterator[pl.DataFrame]:
    schema = record_columns(source.record_kind)
    return read_batches(normalized.files("part-*.parquet"), schema=schema, rows=rows)


def text_batches(source: Source, normalized: Dataset, *, rows: int) -> Iterator[pl.DataFrame]:
    """A source's normalized records as one text each, in their order, at most so many rows at a time.

    Yields:
        Columns `id`, `content_key`, `split`, `domain`, `lang`, `text`: a document's text, a conversation by
        its source's template, of other kinds all content in order; `content`, what the key is made of; and
        `question`: see `first_question`.
    """
    for batch in _record_batches(source, normalized, rows):
        yield _as_texts(source, batch.lazy()).collect()


def _as_texts(source: Source, frame: pl.LazyFrame) -> pl.LazyFrame:
    # Imported here: definitions reach this module and must load fast.
    from medpipe.curate.family import first_question

    kind = source.record_kind
    frame = frame.with_columns(content=joined_content(kind), question=first_question(kind))
    if source.kind is Kind.CONVERSATION:
        frame = render_conversations(frame, source.template)
    elif source.kind is not Kind.DOCUMENT:
        frame = frame.with_columns(text="content")
    return frame.select("id", "content_key", "split", "domain", "lang", "text", "content", "question")
