"""Which records are held out for validation.

Records that belong together stand on one side: those with the same content key, near-duplicates, and
documents about the same thing (`family`). Such groups are made over all sources and all data sets, before
anything is dropped, so that no copy or relative of a held-out text, whoever published it, is trained on.

1. A group of which an earlier corpus trained on a member stays on the side of training, and one of which it
   only held out members stays held out; what a publisher holds out of the former is then left out.
2. Else a group is held out if any publisher holds any record of it out (validation or test), whatever that
   source is used for.
3. Else it is held out if the last 32 bits of its smallest content key, read as a fraction of 2^32, are below
   the share. Keys are hashes, so this is a fair draw, whatever the size of the group.
4. A domain with enough kept records but none held out gives up the group of the record with its smallest key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from medpipe.records.kinds import Split

KEY_RANGE = 2**32
"""Number of values of a content key's last 32 bits."""
_TOGETHER = ("content_key", "cluster", "family")
"""Columns of which an equal value makes records relatives."""


def groups(records: pl.DataFrame) -> pl.Series:
    """The group of each record: the position of its first member.

    Args:
        records: columns `content_key`, `cluster`, `family`; nulls relate nothing.

    Returns:
        Int64, row for row.
    """
    # Imported here: it brings a compiler, which definitions must not wait for.
    from medpipe.curate.near_duplicates.pair_kernel import roots, unite_pairs

    parents = np.arange(records.height, dtype=np.int64)
    for column in _TOGETHER:
        pairs = (
            records.lazy()
            .select(column, position=pl.int_range(pl.len(), dtype=pl.Int64))
            .drop_nulls(column)
            .with_columns(first=pl.col("position").first().over(column))
            .filter(pl.col("first") != pl.col("position"))
            .select("first", "position")
            .collect()
        )
        unite_pairs(parents, np.ascontiguousarray(pairs.to_numpy().astype(np.int64).reshape(-1, 2)))
    roots(parents)
    return pl.Series("group", parents)


def drawn(share: float) -> pl.Expr:
    """Whether the draw by `content_key` holds a record out (rule 3)."""
    fraction = pl.col("content_key").str.slice(24, 8).str.to_integer(base=16, dtype=pl.Int64) / KEY_RANGE
    return fraction < share


def sides(
    records: pl.DataFrame,
    kept: Sequence[pl.DataFrame],
    earlier: pl.DataFrame,
    *,
    share: float,
    minimum_documents: int,
) -> pl.DataFrame:
    """On which side each record stands.

    Args:
        records: all records of all sources; columns `content_key`, `split` (the publisher's), `group`.
        kept: the kept records of each data set that is split; columns `content_key`, `domain`, `group`.
        earlier: what an earlier corpus kept; columns `content_key`, `split` (its own).
        share: fraction of the groups to draw.
        minimum_documents: a domain of a data set with this many kept records has one held out.

    Returns:
        Row for row: `is_held_out`, and `was_seen` (held out by a publisher though relatives were trained on).
    """
    before = (
        earlier.lazy()
        .group_by("content_key")
        .agg(trained=(pl.col("split").cast(pl.String) == Split.TRAIN.value).any())
    )
    is_published = pl.col("split").cast(pl.String) != Split.TRAIN.value
    by_group = (
        records.lazy()
        .join(before, on="content_key", how="left")
        .group_by("group")
        .agg(
            trained=pl.col("trained").any(),
            known=pl.col("trained").is_not_null().any(),
            published=is_published.any(),
            content_key=pl.col("content_key").min(),
        )
        .select("group", "trained", held_out=pl.col("known") | pl.col("published") | drawn(share))
        .with_columns(held_out=pl.col("held_out") & ~pl.col("trained"))
        .collect()
    )
    held_out = set(by_group.filter("held_out")["group"])
    trained = by_group.filter("trained")["group"]
    for table in kept:
        is_out = pl.col("group").is_in(pl.Series(sorted(held_out), dtype=pl.Int64).implode())
        given_up = (
            table.with_columns(is_out=is_out, is_fixed=pl.col("group").is_in(trained.implode()))
            .group_by("domain")
            .agg(
                pl.len(),
                any_held_out=pl.col("is_out").any(),
                smallest=pl.col("group")
                .filter(~pl.col("is_fixed"))
                .sort_by(pl.col("content_key").filter(~pl.col("is_fixed")))
                .first(),
            )
            .filter(~pl.col("any_held_out"), pl.col("len") >= minimum_documents)
        )
        held_out.update(given_up["smallest"].drop_nulls())
    chosen = pl.Series(sorted(held_out), dtype=pl.Int64)
    return records.select(
        is_held_out=pl.col("group").is_in(chosen.implode()),
        was_seen=is_published & pl.col("group").is_in(trained.implode()),
    )
