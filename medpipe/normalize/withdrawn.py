"""Takes withdrawn records out of a batch before anything is written."""

from __future__ import annotations

import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.lake.tombstones import WITHDRAWN, Tombstones
from medpipe.normalize.records import Normalized

_PLACE = ("source", "revision", "path", "row")

WithdrawnPlace = tuple[str, str, str, int, int]
"""Id, content key, file, row and part of a record that was taken out."""


def places_of_withdrawn(records: pl.DataFrame, tombstones: Tombstones) -> list[WithdrawnPlace]:
    """Which records of a batch are taken out, as the facts of the data set name them."""
    if not tombstones:
        return []
    names = (pl.col("id", "content_key", "path").cast(pl.String), pl.col("row", "part"))
    return records.filter(tombstones.is_withdrawn()).select(*names).rows()


def is_still_withdrawn(dataset: Dataset, tombstones: Tombstones) -> bool:
    """Whether all that a normalized data set left out is withdrawn still.

    Its recipe says what was withdrawn from its own source; copies of what other sources published are left
    out, too, and only its facts tell these.
    """
    facts = dataset.manifest.facts
    source = dataset.manifest.recipe.config.get("id")
    if not facts.get("records_withdrawn") or source in tombstones.sources:
        return True
    return "withdrawn" in facts and all(
        record_id in tombstones.ids or key in tombstones.content_keys
        for record_id, key, *_ in facts["withdrawn"]
    )


def without_withdrawn(batch: Normalized, tombstones: Tombstones) -> Normalized:
    """The batch without what was withdrawn.

    Args:
        batch: records and rejected rows; of a row with several records these follow each other.
        tombstones: what was withdrawn.

    Returns:
        The records that are left, and the rejected rows in the order of the file. A row that gave records
        and has none left is rejected as `withdrawn`; `detail` names those records, `raw` is null. So are all
        rows of a source that was withdrawn as a whole, whatever they were rejected for.
    """
    if not tombstones:
        return batch
    is_withdrawn = tombstones.is_withdrawn()
    left = batch.records.filter(~is_withdrawn)
    rejected = batch.rejected
    if left.height < batch.records.height:
        nothing = pl.lit(None, dtype=pl.String)
        gone = (
            batch.records.filter(is_withdrawn)
            .join(left, on=_PLACE, how="anti", maintain_order="left")
            .group_by(_PLACE, maintain_order=True)
            .agg(detail=pl.col("id").str.join(", "))
            .with_columns(reason=pl.lit(WITHDRAWN), raw=nothing)
        )
        rejected = pl.concat([rejected, gone.select(rejected.columns)]).sort("row", maintain_order=True)
    is_whole = pl.col("source").is_in(sorted(tombstones.sources)) & (pl.col("reason") != WITHDRAWN)
    for column, value in (("detail", None), ("raw", None), ("reason", WITHDRAWN)):
        rejected = rejected.with_columns(
            pl.when(is_whole).then(pl.lit(value, dtype=pl.String)).otherwise(column).alias(column)
        )
    return Normalized(left, rejected)
