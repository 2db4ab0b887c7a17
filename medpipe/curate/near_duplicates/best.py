"""Which member of a cluster stays."""

from __future__ import annotations

import polars as pl

from medpipe.records.kinds import Tier


def choose_best(members: pl.LazyFrame) -> pl.LazyFrame:
    """Names the member of each cluster that is kept; works on keys, never on texts.

    The rule, each line deciding where those before it leave a tie:

    1. A refined document before a raw one: the tier is what is known about quality.
    2. The longer text: of two versions the shorter is more often the cut one.
    3. The source that stands first in the catalog: a person's statement of which publisher comes first.
    4. The smaller id, so that the choice never depends on the order of rows.

    Args:
        members: one row a document; columns `cluster` (null where the document is in none), `id`, `source`
            (Enum in the catalog's order), `tier` and `characters` (length of the text).

    Returns:
        `members` in the same order with the column `duplicate_of`: the id of the kept member, null for that
        member itself and for documents without a cluster.
    """
    is_raw = pl.col("tier").cast(pl.String) != Tier.REFINED.value
    order = [is_raw, -pl.col("characters").cast(pl.Int64), pl.col("source").to_physical(), pl.col("id")]
    kept = pl.col("id").sort_by(order).first().over("cluster")
    is_dropped = pl.col("cluster").is_not_null() & (pl.col("id") != kept)
    return members.with_columns(duplicate_of=pl.when(is_dropped).then(kept))
