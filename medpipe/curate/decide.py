"""What happens to each record, decided on keys and judgements: kept or rejected, trained on or held out."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate.duplicates import mark_duplicates
from medpipe.curate.near_duplicates.best import choose_best
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset
from medpipe.records.kinds import Split, Tier

EXACT_DUPLICATE = "exact_duplicate"
NEAR_DUPLICATE = "near_duplicate"
EXAM_ITEM = "repeats_exam_item"
HELD_OUT_BUT_SEEN = "held_out_but_seen"
"""A publisher's test record whose relatives an earlier corpus trained on."""


def read_judgements(judgements: Mapping[str, Dataset], contamination: Mapping[str, Dataset]) -> pl.DataFrame:
    """One table of all records, in the order of the mapping and of publication.

    Args:
        judgements: by source id, in the catalog's order.
        contamination: by source id; a source that is not there repeats no exam.

    Returns:
        The columns of `JUDGEMENT`, and `source` (Enum), `row` (Int64, within the source). Some 160 bytes a
        record, and about six times that while sides and duplicates are found: the only thing of a corpus that
        is held in memory.
    """
    order = pl.Enum(list(judgements))
    tables = []
    for source_id, dataset in judgements.items():
        frame = pl.scan_parquet(dataset.files("part-*.parquet"))
        frame = frame.with_columns(
            source=pl.lit(source_id, dtype=order), row=pl.int_range(pl.len(), dtype=pl.Int64)
        )
        if source_id in contamination:
            repeats = pl.scan_parquet(contamination[source_id].files("part-*.parquet"))
            frame = _without_exam_items(frame, repeats)
        tables.append(frame.collect(engine="streaming"))
    return pl.concat(tables)


def _without_exam_items(frame: pl.LazyFrame, repeats: pl.LazyFrame) -> pl.LazyFrame:
    """Rejects what repeats an exam, but for what its publisher holds out itself: that is the exam."""
    said = pl.concat_str(pl.lit("item "), "exam_id", pl.lit(": "), "span")
    repeats = repeats.select("row", said=said)
    is_new = (
        pl.col("said").is_not_null() & pl.col("reason").is_null() & (pl.col("split") == Split.TRAIN.value)
    )
    return (
        frame.join(repeats, on="row", how="left", maintain_order="left")
        .with_columns(
            reason=pl.when(is_new).then(pl.lit(EXAM_ITEM)).otherwise("reason"),
            detail=pl.when(is_new).then("said").otherwise("detail"),
        )
        .drop("said")
    )


def decide(
    records: pl.DataFrame, held_out: pl.DataFrame, sources: Mapping[str, Source], *, purpose: Purpose
) -> dict[str, pl.DataFrame]:
    """Decides about every record of the sources that feed a data set.

    Args:
        records: the table of `read_judgements` with `cluster` (Int64, null outside near-duplicates).
        held_out: row for row, `is_held_out` and `was_seen` of `sides`.
        sources: the catalog's entries by id.
        purpose: the data set to decide for.

    Returns:
        By source, in the order of `records`: one row a record in its order, with `id`, `split` (final; exams
        keep their publisher's),
        `tier`, `reason` (null where kept) and `detail`.
    """
    is_exam = purpose is Purpose.EXAMS
    splits, tiers = pl.Enum([each.value for each in Split]), pl.Enum([each.value for each in Tier])
    is_seen = pl.col("was_seen") & pl.col("reason").is_null() & (not is_exam)
    # Before duplicates are looked for: what is left out must not take its copies with it.
    records = records.hstack(held_out).with_columns(
        reason=pl.when(is_seen).then(pl.lit(HELD_OUT_BUT_SEEN)).otherwise("reason")
    )
    decided = marked(records, sources, purpose).select(
        "source",
        "id",
        "reason",
        "detail",
        split=pl.when(is_exam)
        .then(pl.col("split").cast(splits))
        .when("is_held_out")
        .then(pl.lit(Split.VALIDATION.value, dtype=splits))
        .otherwise(pl.lit(Split.TRAIN.value, dtype=splits)),
        tier=pl.when("refined")
        .then(pl.lit(Tier.REFINED.value, dtype=tiers))
        .otherwise(pl.lit(Tier.RAW.value, dtype=tiers)),
    )
    by_source = decided.partition_by("source", as_dict=True, include_key=False, maintain_order=True)
    empty = decided.clear().drop("source")
    return {
        source_id: by_source.get((source_id,), empty)
        for source_id in records.schema["source"].categories  # type: ignore[attr-defined]
        if purpose.takes(sources[source_id])
    }


def marked(records: pl.DataFrame, sources: Mapping[str, Source], purpose: Purpose) -> pl.DataFrame:
    """The records that feed a data set, in order; duplicates are rejected beside what was before.

    Of equal records the first stays, in the catalog's order; of near-duplicates the best (see
    `choose_best`).
    """
    feeding = [source_id for source_id in records["source"].unique() if purpose.takes(sources[source_id])]
    members = records.filter(pl.col("source").cast(pl.String).is_in(feeding)).with_row_index("position")
    marks = {EXACT_DUPLICATE: mark_duplicates}
    if purpose is not Purpose.EXAMS:
        marks[NEAR_DUPLICATE] = _mark_near_duplicates
    for reason, mark in marks.items():
        left = mark(members.lazy().filter(pl.col("reason").is_null())).select("position", "duplicate_of")
        is_new = pl.col("duplicate_of").is_not_null()
        members = (
            members.lazy()
            .join(left, on="position", how="left", maintain_order="left")
            .with_columns(
                reason=pl.when(is_new).then(pl.lit(reason)).otherwise("reason"),
                detail=pl.when(is_new).then("duplicate_of").otherwise("detail"),
            )
            .drop("duplicate_of")
            .collect()
        )
    return members.drop("position")


def _mark_near_duplicates(members: pl.LazyFrame) -> pl.LazyFrame:
    tier = pl.when("refined").then(pl.lit(Tier.REFINED.value)).otherwise(pl.lit(Tier.RAW.value))
    return choose_best(members.with_columns(tier=tier))
