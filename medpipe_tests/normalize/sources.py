"""Catalog entries and raw snapshots for tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from medpipe.catalog.source import Source
from medpipe.lake.dataset import Dataset
from medpipe.lake.manifest import Manifest, Recipe
from medpipe.records.kinds import Kind
from medpipe.records.schemas import SCHEMAS, Rejected


def make_source(*files: str | dict[str, Any], layout: dict[str, Any], **more: Any) -> Source:
    """A local source; a file given by its pattern alone is of the domain `disease`."""
    entry: dict[str, Any] = {
        "id": "a_source",
        "title": "A source",
        "description": "For tests.",
        "folder": ".",
        "files": [{"path": f, "domain": "disease"} if isinstance(f, str) else f for f in files],
        "layout": layout,
        "language": "zh",
        "licence": {"name": "Apache-2.0"},
        "uses": ["evaluation"],
    }
    return Source.model_validate(entry | more)


def make_raw(folder: Path, revision: str = "rev1") -> Dataset:
    """A snapshot of whatever lies in a folder."""
    recipe = Recipe(inputs={}, code_version="1")
    manifest = Manifest(
        room="raw", name="a_source", digest=revision, recipe=recipe, rows=0, bytes=0, files=()
    )
    return Dataset(folder, manifest)


def records_of(dataset: Dataset) -> pl.DataFrame:
    """All records of a normalized data set, checked against the schema of their kind."""
    frame = pl.read_parquet(sorted(dataset.path.glob("part-*.parquet")))
    return SCHEMAS[Kind(dataset.manifest.facts["kind"])].validate(frame)


def rejected_of(dataset: Dataset) -> pl.DataFrame:
    """All rejected rows of a normalized data set, checked against their schema."""
    frame = pl.read_parquet(sorted((dataset.path / "rejected").glob("part-*.parquet")))
    return Rejected.validate(frame)


def check_funnel(dataset: Dataset) -> dict[str, Any]:
    """The facts, once every row is accounted for in facts and files alike."""
    facts = dataset.manifest.facts
    records, rejected = records_of(dataset), rejected_of(dataset)
    assert facts["published"] == facts["kept"] + facts["rejected"]
    assert facts["records"] == dataset.manifest.rows == records.height
    assert facts["rejected"] == rejected.height == sum(facts["rejected_by_reason"].values())
    assert records.select("path", "row").unique().height == facts["kept"]
    rows = pl.concat([records.select("path", "row").unique(), rejected.select("path", "row")])
    assert rows.is_unique().all(), "a row is counted twice"
    for path, counts in facts["by_file"].items():
        assert sorted(rows.filter(pl.col("path") == path)["row"]) == list(range(counts["published"]))
        assert counts["published"] == counts["kept"] + counts["rejected"]
    return facts
