"""Which sources a model is measured with, and their items as texts to look for."""

from __future__ import annotations

import polars as pl

from medpipe.catalog.source import Source, Use
from medpipe.lake.dataset import Dataset
from medpipe.lake.parquet import scan_parts
from medpipe.records.keys import joined_content
from medpipe.records.kinds import Kind, Split, record_columns


def is_exam_source(source: Source) -> bool:
    """Whether a model is measured with some of a source's records: exam items, and what is for evaluation.

    The test split of a source that is there to be trained on is no exam: it is held out with all its
    near-duplicates and relatives, and its phrases are said everywhere.
    """
    return source.kind is Kind.EXAM_ITEM or (source.kind is not None and Use.EVALUATION in source.uses)


def exam_texts(source: Source, normalized: Dataset) -> pl.LazyFrame:
    """The items of an exam source as texts to look for.

    Of a source that is for evaluation only these are all records; else those of its test split. An exam item
    gives two texts, question and options one after the other and with the options' labels between them, as
    both are how items are written out. A conversation and a preference give what the user says and, marked as
    an answer, what is replied; a document gives its text, as an answer.

    Returns:
        Columns `id`, `text`, `lang`, all String, and `is_answer`; no rows where `is_exam_source` says no.
    """
    frame = scan_parts(normalized.files("part-*.parquet"), schema=record_columns(source.record_kind))
    return exam_rows(source, frame)


def exam_rows(source: Source, records: pl.LazyFrame) -> pl.LazyFrame:
    """The same for records that are at hand."""
    if not is_exam_source(source):
        records = records.clear()
    elif source.kind is not Kind.EXAM_ITEM and set(source.uses) != {Use.EVALUATION}:
        records = records.filter(pl.col("split").cast(pl.String) == Split.TEST.value)
    asked, answered = _texts(source.record_kind)
    texts = [
        records.select("id", text=text, lang=pl.col("lang").cast(pl.String), is_answer=pl.lit(is_answer))
        for is_answer, some in ((False, asked), (True, answered))
        for text in some
    ]
    return pl.concat(texts).filter(pl.col("text") != "")


def _texts(kind: Kind) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """What is asked and what is answered in a record."""
    match kind:
        case Kind.EXAM_ITEM:
            option = pl.concat_str(
                pl.element().struct.field("label"),
                pl.element().struct.field("text"),
                separator=" ",
                ignore_nulls=True,
            )
            labelled = pl.col("options").list.eval(option).list.join(" ")
            return [joined_content(kind), pl.concat_str("question", labelled, separator=" ")], []
        case Kind.CONVERSATION:
            return [_said("turns", by_user=True)], [_said("turns", by_user=False)]
        case Kind.PREFERENCE:
            return [_said("prompt", by_user=True)], [pl.col("chosen"), pl.col("rejected")]
        case Kind.DOCUMENT:
            return [], [pl.col("text")]


def _said(turns: str, *, by_user: bool) -> pl.Expr:
    is_user = pl.element().struct.field("role") == "user"
    chosen = pl.element().filter(is_user if by_user else ~is_user)
    return pl.col(turns).list.eval(chosen.struct.field("content")).list.join(" ")
