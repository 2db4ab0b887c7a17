"""Records that were kept out of training since they repeat an exam item."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from medpipe.curate.exam_search import FILE, ROOM
from medpipe.lake.dataset import find_current
from medpipe.lake.layout import Lake
from medpipe.lineage.search import Record, find_records
from medpipe.lineage.stages import NORMALIZED, find_dataset, record_files, source_names


def quotes_of(lake: Lake, ids: Collection[str], sources: Collection[str]) -> list[Record]:
    """The records that were found to repeat one of some exam items, without those items themselves.

    Args:
        lake: the lake.
        ids: of exam items.
        sources: sources of which every item counts.
    """
    exams = set(ids) | _ids_of(lake, sources)
    found: list[Record] = []
    for source in source_names(lake) if exams else ():
        repeats = find_current(lake, ROOM, source)
        if repeats is None or not repeats.manifest.rows or source in sources:
            continue
        digest = repeats.manifest.recipe.inputs.get("normalized", "")
        records = find_dataset(lake, NORMALIZED, source, digest=digest)
        if records is None:
            continue
        asked = pl.col("exam_id").is_in(sorted(exams))
        rows = pl.scan_parquet(repeats.files(FILE)).filter(asked).select("row").collect()["row"]
        if rows.is_empty():
            continue
        numbered = pl.scan_parquet(records.files("part-*.parquet")).select(
            pl.col("id").cast(pl.String), row=pl.int_range(pl.len(), dtype=pl.Int64)
        )
        quoting = numbered.filter(pl.col("row").is_in(rows.to_list())).collect(engine="streaming")["id"]
        found += find_records(record_files({source: records}), ids=set(quoting) - set(ids))
    return found


def _ids_of(lake: Lake, sources: Collection[str]) -> set[str]:
    """The exam items of some sources that anything repeats; a source of another use has none."""
    found: set[str] = set()
    for source in sources:
        records = find_current(lake, NORMALIZED, source)
        if records is None or not records.files("part-*.parquet"):
            continue
        mine = pl.scan_parquet(records.files("part-*.parquet")).select(pl.col("id").cast(pl.String))
        for name in source_names(lake):
            repeats = find_current(lake, ROOM, name)
            if repeats is not None and f"exam {source}" in repeats.manifest.recipe.inputs:
                items = pl.scan_parquet(repeats.files(FILE)).select(id="exam_id").unique()
                found |= set(items.join(mine, on="id", how="semi").collect(engine="streaming")["id"])
    return found
