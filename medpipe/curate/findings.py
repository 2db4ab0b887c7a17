"""What becomes of every record, found out before the texts are read a last time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate.clusters import build_clusters, with_clusters
from medpipe.curate.config import CurateConfig
from medpipe.curate.decide import decide, marked, read_judgements
from medpipe.curate.exam_search import ExamSearch
from medpipe.curate.judgement import build_judgement
from medpipe.curate.near_duplicates.overlap import count_overlap
from medpipe.curate.purposes import Purpose, kept_parts
from medpipe.curate.split import groups, sides
from medpipe.lake.dataset import Dataset, whole_datasets
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind

CORPUS = "corpus"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Findings:
    """What is known of all records before the texts are read a last time."""

    decisions: Mapping[str, pl.DataFrame]
    """By source: see `decide`."""
    overlap: pl.DataFrame | None
    """What sources share by near-duplicates: see `count_overlap`."""


def find_out(
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    *,
    lake: Lake,
    config: CurateConfig,
    force: bool = False,
    progress: Progress | None = None,
) -> Findings:
    """Judges, compares and splits the records of all sources.

    What is known of each source by itself is stored in the lake and used again; see `build_judgement`,
    `ExamSearch` and `build_clusters`.

    Args:
        purpose: the data set to decide for.
        normalized: the normalized data sets by source id, in the catalog's order.
        sources: the catalog's entries by id.
        lake: where intermediate data sets lie, and the corpora of before, whose sides stay.
        config: what a person set.
        force: compute again what is stored.
        progress: takes one line of news at a time.
    """
    judgements, repeats = {}, {}
    search = config.contamination and ExamSearch(normalized, sources, lake=lake, config=config.contamination)
    for source_id, dataset in normalized.items():
        judgements[source_id] = build_judgement(
            sources[source_id], dataset, lake=lake, config=config, force=force, progress=progress
        ).dataset
        if search and sources[source_id].kind is not Kind.EXAM_ITEM:
            repeats[source_id] = search.build(source_id, dataset, force=force, progress=progress).dataset
    records = read_judgements(judgements, repeats)
    clusters = None
    if config.near_duplicates is not None:
        digests = {f"judgements {name}": each.digest for name, each in judgements.items()}
        clusters = build_clusters(
            records,
            normalized,
            sources,
            inputs=digests | {f"contamination {name}": each.digest for name, each in repeats.items()},
            lake=lake,
            config=config.near_duplicates,
            force=force,
            progress=progress,
        ).dataset
    records = with_clusters(records, clusters)
    records = records.with_columns(groups(records))
    tables = {each: marked(records, sources, each) for each in Purpose if each is not Purpose.EXAMS}
    held_out = sides(
        records.select("content_key", "split", "group"),
        [
            table.filter(pl.col("reason").is_null()).select("content_key", "domain", "group")
            for table in tables.values()
        ],
        _earlier(lake),
        share=config.validation_share,
        minimum_documents=config.minimum_documents,
    )
    fed = records.filter(
        pl.col("source").cast(pl.String).is_in([name for name in normalized if purpose.takes(sources[name])])
    )
    return Findings(
        decide(records, held_out, sources, purpose=purpose),
        count_overlap(fed.select("source", group="cluster")),
    )


def _earlier(lake: Lake) -> pl.DataFrame:
    """Keys and sides of all that any stored corpus keeps, not only the current ones: these stay.

    A data set that is damaged is left out.
    """
    tables = [pl.DataFrame(schema={"content_key": pl.String, "split": pl.String})]
    for purpose in Purpose:
        for dataset in [] if purpose is Purpose.EXAMS else whole_datasets(lake, CORPUS, purpose.value):
            for part in kept_parts(dataset):
                keys = pl.read_parquet(part, columns=["content_key", "split"])
                tables.append(keys.with_columns(pl.col("split").cast(pl.String)))
    return pl.concat(tables).unique()
