"""Records that differ in personal data alone: curating replaces it, so that one text is trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from medpipe.curate.judgement import FILE, ROOM
from medpipe.lake.dataset import Dataset, find_current, whole_datasets
from medpipe.lake.layout import Lake


def judgements(lake: Lake, sources: Iterable[str], *, old: bool) -> list[Dataset]:
    """The judged records of some sources: the current data sets, or with `old` all that there are."""
    if old:
        return [each for source in sources for each in whole_datasets(lake, ROOM, source)]
    current = (find_current(lake, ROOM, source) for source in sources)
    return [each for each in current if each is not None]


def alike(datasets: Collection[Dataset], content_keys: Collection[str]) -> pl.DataFrame:
    """The judged records that become the same text as one of some records.

    Args:
        datasets: of `judgements`.
        content_keys: of the records that are asked about.

    Returns:
        Columns `source`, `id`, `content_key` and `trained_key`, the key of the text that is trained on; the
        records that are asked about are among them.
    """
    schema = dict.fromkeys(("source", "id", "content_key", "trained_key"), pl.String)
    frames = [_keys(each) for each in datasets if each.files(FILE)]
    if not frames or not content_keys:
        return pl.DataFrame(schema=schema)
    asked = pl.col("content_key").is_in(list(content_keys))
    trained: set[str] = set()
    for frame in frames:
        trained |= set(frame.filter(asked).select("trained_key").collect(engine="streaming").to_series())
    same = pl.col("trained_key").is_in(sorted(trained))
    return pl.concat([frame.filter(same).collect(engine="streaming") for frame in frames]).unique(
        maintain_order=True
    )


def _keys(dataset: Dataset) -> pl.LazyFrame:
    source = dataset.path.parent.name
    return pl.scan_parquet(dataset.files(FILE)).select(
        pl.lit(source, dtype=pl.String).alias("source"),
        pl.col("id", "content_key").cast(pl.String),
        trained_key=pl.coalesce("scrubbed_key", "content_key").cast(pl.String),
    )
