"""A seeded sample of training documents with an equal share of bytes for each domain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.lake.parquet import scan_parts
from medpipe.records.kinds import Kind, Split, record_columns

LONGEST_CHARACTERS = 20_000
"""Only the beginning of a longer document is taken: one book must not fill a domain's share."""
BATCH_ROWS = 1024


def scan_documents(documents: Dataset, source: str = "*") -> pl.LazyFrame:
    """The kept documents of a corpus, of one source or of all."""
    parts = [p for p in documents.files(f"{source}/part-*.parquet") if p.parent.name != "rejected"]
    return scan_parts(parts, schema=record_columns(Kind.DOCUMENT))


def draw(ids: pl.Series, *, seed: int) -> npt.NDArray[np.uint64]:
    """A pseudo-random number for each id, the same on every machine; shape (ids,).

    The first 64 bits of an id are a hash already; the seed is mixed in by the finalizer of splitmix64.
    """
    first = ids.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64).to_numpy()
    increment = np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    mixed = first + increment
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def equal_shares(sizes: dict[str, int], budget: int) -> dict[str, int]:
    """Splits a budget of bytes over domains: equal shares, and what a small domain leaves goes to the others.

    The shares add up to `min(budget, sum of sizes)` but for rounding down.
    """
    shares: dict[str, int] = {}
    left = budget
    for count, (domain, size) in enumerate(sorted(sizes.items(), key=lambda item: (item[1], item[0]))):
        shares[domain] = min(size, left // (len(sizes) - count))
        left -= shares[domain]
    return shares


def sample_ids(documents: Dataset, *, split: Split, budget: int, seed: int) -> pl.DataFrame:
    """Chooses documents, at most `budget` bytes of their beginnings in all.

    Returns:
        Columns `id`, `domain`, `size` (UTF-8 bytes of the beginning), in domain order and drawn order.
    """
    table = (
        scan_documents(documents)
        .filter(pl.col("split").cast(pl.String) == split.value)
        .select("id", pl.col("domain").cast(pl.String), size=_beginning().str.len_bytes().cast(pl.Int64))
        .collect(engine="streaming")
    )
    sizes = dict(table.group_by("domain").agg(pl.col("size").sum()).iter_rows())
    shares = equal_shares(sizes, budget)
    limits = pl.DataFrame(
        {"domain": list(shares), "limit": list(shares.values())},
        schema={"domain": pl.String, "limit": pl.Int64},
    )
    return (
        table.with_columns(drawn=pl.Series(draw(table["id"], seed=seed), dtype=pl.UInt64))
        .join(limits, on="domain")
        .sort("domain", "drawn", "id")
        .filter(pl.col("size").cum_sum().over("domain") <= pl.col("limit"))
        .select("id", "domain", "size")
    )


def sample_texts(documents: Dataset, chosen: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Yields (domain, beginning of the text) of chosen documents, in the order of the corpus."""
    frame = scan_documents(documents).join(
        chosen.lazy().select("id"), on="id", how="semi", maintain_order="left"
    )
    texts = frame.select(pl.col("domain").cast(pl.String), _beginning())
    for batch in texts.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        yield from batch.iter_rows()


def _beginning() -> pl.Expr:
    return pl.col("text").str.head(LONGEST_CHARACTERS)
