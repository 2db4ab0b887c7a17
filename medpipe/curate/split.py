"""Which content is held out for validation.

The split is made by content key and after the duplicates were found, so that no copy of a held-out
text, whoever published it, is trained on:

1. A key is held out if any publisher holds any record of it out (validation or test), whatever that
   source is used for.
2. Otherwise it is held out if its first 32 bits, read as a fraction of 2^32, are below the share. Keys
   are hashes, so this is a fair draw that never changes when other records come or go.
3. A domain with enough kept records but none held out gives up the record with its smallest key.

A key is on the same side in the documents, the conversations and the preferences.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from medpipe.records.kinds import Split

KEY_RANGE = 2**32
"""Number of values of a content key's first 32 bits."""


def drawn(share: float) -> pl.Expr:
    """Whether the draw by `content_key` holds a record out (rule 2)."""
    fraction = pl.col("content_key").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64) / KEY_RANGE
    return fraction < share


def held_out_keys(
    members: pl.DataFrame, kept: Sequence[pl.DataFrame], *, share: float, minimum_documents: int
) -> pl.Series:
    """The content keys on the validation side.

    Args:
        members: all records of all sources, duplicates too; columns `content_key`, `split` (the
            publisher's).
        kept: the kept records of each data set that is split; columns `content_key`, `domain`.
        share: fraction of the keys to draw.
        minimum_documents: a domain of a data set with this many kept records has one held out.

    Returns:
        Distinct keys, sorted.
    """
    published = pl.col("split").cast(pl.String) != Split.TRAIN.value
    held_out = members.filter(published | drawn(share)).get_column("content_key").unique()
    given_up = [
        records.group_by("domain")
        .agg(
            pl.len(),
            any_held_out=pl.col("content_key").is_in(held_out.implode()).any(),
            smallest=pl.col("content_key").min(),
        )
        .filter(~pl.col("any_held_out"), pl.col("len") >= minimum_documents)
        .get_column("smallest")
        for records in kept
    ]
    return pl.concat([held_out, *given_up]).unique().sort()
