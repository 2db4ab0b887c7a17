"""Exact duplicates by content key: which member of a group is kept."""

from __future__ import annotations

import polars as pl


def mark_duplicates(members: pl.LazyFrame) -> pl.LazyFrame:
    """Names the kept member of each record's group; works on keys, never on texts.

    The first member is kept, in the order of the catalog's sources and, within one source, in the
    order in which it was published (path, row, part). The order of the catalog is a person's
    statement of which publisher comes first, and the rule does not depend on how long a copy is: texts
    of one key differ in case, spaces and punctuation only.

    Args:
        members: one row a record that could be kept, in that order; columns `id` and `content_key`.

    Returns:
        `members` in the same order with the column `duplicate_of`: the id of the kept member, null for
        that member itself.
    """
    kept_id = pl.col("id").first().over("content_key")
    is_kept = pl.col("content_key").is_first_distinct()
    return members.with_columns(duplicate_of=pl.when(is_kept).then(None).otherwise(kept_id))
