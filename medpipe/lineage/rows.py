"""Published rows: where a withdrawn record came from, and what else came of the same row."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from medpipe.lake.dataset import whole_datasets
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import WithdrawnRecord
from medpipe.lineage.stages import NORMALIZED, source_names

Row = tuple[str, str, str, int]
"""Source, revision, file and row."""


@dataclass(frozen=True, kw_only=True)
class TakenOut:
    """A record that normalising took out, and where it had come from."""

    id: str
    content_key: str
    source: str
    revision: str
    path: str
    row: int
    part: int


def taken_out(lake: Lake, *, ids: Collection[str], content_keys: Collection[str]) -> list[TakenOut]:
    """What normalised data sets say that they left out, of some ids or content keys; each once."""
    found: dict[TakenOut, None] = {}
    for source in source_names(lake):
        for dataset in whole_datasets(lake, NORMALIZED, source):
            revision = dataset.manifest.recipe.inputs.get("raw", "")
            for record_id, key, path, row, part in dataset.manifest.facts.get("withdrawn", ()):
                if record_id in ids or key in content_keys:
                    gone = TakenOut(
                        id=record_id,
                        content_key=key,
                        source=source,
                        revision=revision,
                        path=path,
                        row=row,
                        part=part,
                    )
                    found[gone] = None
    return list(found)


def records_of_rows(
    lake: Lake, places: Collection[tuple[str, str, str, int, int]], *, any_part: bool
) -> set[WithdrawnRecord]:
    """What any normalized data set made of some published rows, whatever its settings were.

    Args:
        lake: the lake.
        places: source, revision, file, row and part.
        any_part: take every record of the row, and not only the one of the same part.
    """
    found: set[WithdrawnRecord] = set()
    for source in sorted({place[0] for place in places}):
        mine = sorted({place[1:] for place in places if place[0] == source})
        revisions = {revision for revision, *_ in mine}
        asked = pl.LazyFrame(
            mine,
            schema={"revision": pl.String, "path": pl.String, "row": pl.Int64, "part": pl.Int64},
            orient="row",
        )
        same = ["revision", "path", "row"] + ([] if any_part else ["part"])
        numbers = sorted({row for _, _, row, _ in mine})
        for dataset in whole_datasets(lake, NORMALIZED, source):
            parts = dataset.files("part-*.parquet")
            if not parts or dataset.manifest.recipe.inputs.get("raw") not in revisions:
                continue
            rows = (
                pl.scan_parquet(parts)
                .filter(pl.col("row").is_in(numbers))
                .select(
                    pl.col("id", "content_key", "revision", "path").cast(pl.String),
                    pl.col("row", "part").cast(pl.Int64),
                )
                .join(asked, on=same, how="semi")
                .collect(engine="streaming")
            )
            found |= {
                WithdrawnRecord(source=source, id=record_id, content_key=key)
                for record_id, key in rows.select("id", "content_key").iter_rows()
            }
    return found
