from __future__ import annotations

from random import Random

import polars as pl

from medpipe.curate.near_duplicates.best import choose_best

SOURCES = pl.Enum(["first", "second"])
ROWS = [
    # cluster, id, source, tier, characters, the kept member
    (1, "a", "first", "raw", 900, "b"),
    (1, "b", "second", "refined", 100, None),
    (2, "c", "first", "refined", 100, "d"),
    (2, "d", "second", "refined", 101, None),
    (3, "e", "second", "raw", 50, "f"),
    (3, "f", "first", "raw", 50, None),
    (4, "h", "first", "raw", 50, "g"),
    (4, "g", "first", "raw", 50, None),
    (None, "i", "first", "raw", 50, None),
    (None, "j", "first", "raw", 50, None),
]
SCHEMA = {
    "cluster": pl.Int64,
    "id": pl.String,
    "source": SOURCES,
    "tier": pl.Enum(["raw", "refined"]),
    "characters": pl.UInt32,
    "expected": pl.String,
}


def test_tier_then_length_then_catalog_then_id_and_rows_stay_in_order() -> None:
    for seed in range(5):
        rows = Random(seed).sample(ROWS, len(ROWS))
        members = pl.DataFrame(rows, schema=SCHEMA, orient="row")
        chosen = choose_best(members.lazy()).collect()
        assert chosen["id"].to_list() == members["id"].to_list()
        assert chosen["duplicate_of"].to_list() == members["expected"].to_list()


def test_no_rows() -> None:
    assert choose_best(pl.LazyFrame(schema=SCHEMA)).collect().is_empty()
