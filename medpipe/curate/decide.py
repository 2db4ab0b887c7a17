"""What happens to each record, decided on keys alone: kept or rejected, trained on or held out."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate.config import CurateConfig
from medpipe.curate.duplicates import mark_duplicates
from medpipe.curate.purposes import Purpose, scan_records
from medpipe.curate.split import held_out_keys
from medpipe.lake.dataset import Dataset
from medpipe.records.keys import joined_content
from medpipe.records.kinds import Split

TOO_SHORT = "too_short"
EXACT_DUPLICATE = "exact_duplicate"


def read_keys(
    normalized: Mapping[str, Dataset], sources: Mapping[str, Source], *, config: CurateConfig
) -> pl.DataFrame:
    """The key table of all records, in the order of the mapping and of publication.

    Returns:
        Columns `source`, `id`, `content_key`, `split` (the publisher's), `domain`, `is_short`; about 150
        bytes a record, the only thing of a corpus that is held in memory.
    """
    order = pl.Enum(list(normalized))
    tables = []
    for source_id, dataset in normalized.items():
        source = sources[source_id]
        visible = joined_content(source.record_kind).str.count_matches(r"\S")
        frame = scan_records(source, dataset).select(
            pl.lit(source_id, dtype=order).alias("source"),
            "id",
            "content_key",
            "split",
            "domain",
            is_short=visible < config.minimum_characters,
        )
        tables.append(frame.collect(engine="streaming"))
    return pl.concat(tables)


def decide(
    keys: pl.DataFrame, sources: Mapping[str, Source], *, purpose: Purpose, config: CurateConfig
) -> dict[str, pl.DataFrame]:
    """Decides about every record of the sources that feed a data set.

    The side of the hold-out takes all sources and all data sets into account: what is held out in one is
    held out in the others.

    Args:
        keys: the table of `read_keys`.
        sources: the catalog's entries by id.
        purpose: the data set to decide for.
        config: thresholds.

    Returns:
        By source, in the order of `keys`: one row a record in its order, with `id`, `split` (final),
        `reason` (null where kept) and `detail`.
    """
    marked = {each: _marked(keys, sources, each) for each in Purpose}
    held_out = held_out_keys(
        keys.select("content_key", "split"),
        [
            table.filter(pl.col("reason").is_null()).select("content_key", "domain")
            for table in marked.values()
        ],
        share=config.validation_share,
        minimum_documents=config.minimum_documents,
    )
    splits = keys.schema["split"]
    is_held_out = pl.col("content_key").is_in(held_out.implode())
    decided = marked[purpose].select(
        "source",
        "id",
        "reason",
        "detail",
        split=pl.when(is_held_out)
        .then(pl.lit(Split.VALIDATION.value, dtype=splits))
        .otherwise(pl.lit(Split.TRAIN.value, dtype=splits)),
    )
    by_source = decided.partition_by("source", as_dict=True, include_key=False, maintain_order=True)
    empty = decided.clear().drop("source")
    return {
        source_id: by_source.get((source_id,), empty)
        for source_id in keys.schema["source"].categories  # type: ignore[attr-defined]
        if purpose.takes(sources[source_id])
    }


def _marked(keys: pl.DataFrame, sources: Mapping[str, Source], purpose: Purpose) -> pl.DataFrame:
    """The records that feed a data set, in order, with `reason` and `detail` where rejected."""
    feeding = [source_id for source_id in keys["source"].unique() if purpose.takes(sources[source_id])]
    members = keys.lazy().filter(pl.col("source").cast(pl.String).is_in(feeding)).with_row_index("position")
    long_enough = mark_duplicates(members.filter(~pl.col("is_short")))
    return (
        members.join(
            long_enough.select("position", "duplicate_of"),
            on="position",
            how="left",
            maintain_order="left",
        )
        .with_columns(
            reason=pl.when("is_short")
            .then(pl.lit(TOO_SHORT))
            .when(pl.col("duplicate_of").is_not_null())
            .then(pl.lit(EXACT_DUPLICATE)),
            detail=pl.col("duplicate_of"),
        )
        .drop("position", "is_short", "duplicate_of")
        .collect()
    )
