"""What becomes of every record, found out before the texts are read a last time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.catalog.source import Source
from medpipe.curate.clusters import build_clusters, read_clusters
from medpipe.curate.config import CurateConfig
from medpipe.curate.decide import Decisions, Relations, decide, is_kept, kept_records
from medpipe.curate.exam_search import ExamSearch
from medpipe.curate.judgement import build_judgement
from medpipe.curate.near_duplicates.overlap import count_kinds
from medpipe.curate.purposes import Purpose
from medpipe.curate.record_table import NONE, RecordTable, Rows, Verdict, rank, read_records
from medpipe.curate.sides import Before, sides_before
from medpipe.curate.split import HELD_OUT, TRAINED, UNKNOWN, groups, sides
from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import Tombstones
from medpipe.records.kinds import Kind

CORPUS = "corpus"
_SPLIT = [each for each in Purpose if each is not Purpose.EXAMS]
"""The data sets of which something is held out."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Findings:
    """What is known of all records before the texts are read a last time."""

    decisions: Decisions
    judgements: Mapping[str, Dataset]
    """By source: reasons and details of filters."""
    contamination: Mapping[str, Dataset]
    """By source: what repeats an exam."""
    overlap: pl.DataFrame
    """What sources share, by equal content and by near-duplicates: see `count_kinds`."""


def find_out(
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    *,
    lake: Lake,
    config: CurateConfig,
    tombstones: Tombstones = Tombstones(),  # noqa: B008 - frozen
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
        lake: where intermediate data sets lie, and the sides of before, which stay.
        config: what a person set.
        tombstones: what was withdrawn.
        force: compute again what is stored.
        progress: takes one line of news at a time.

    Raises:
        DiskFullError: the disk filled; what was there before stays.
    """
    judgements, repeats = {}, {}
    search = config.contamination and ExamSearch(
        normalized, sources, lake=lake, config=config.contamination, tombstones=tombstones
    )
    for source_id, dataset in normalized.items():
        judgements[source_id] = build_judgement(
            sources[source_id], dataset, lake=lake, config=config, force=force, progress=progress
        ).dataset
        if search and sources[source_id].kind is not Kind.EXAM_ITEM:
            repeats[source_id] = search.build(source_id, dataset, force=force, progress=progress).dataset
    records = read_records(judgements, repeats, tombstones=tombstones)
    clusters = None
    if config.near_duplicates is not None:
        clusters = build_clusters(
            records,
            normalized,
            sources,
            inputs=_verdicts_from(judgements, repeats, tombstones),
            lake=lake,
            config=config.near_duplicates,
            force=force,
            progress=progress,
        ).dataset
    decisions, shared = _decided(
        purpose,
        records,
        read_clusters(records, clusters),
        sources,
        lake=lake,
        config=config,
        progress=progress,
    )
    return Findings(decisions, judgements, repeats, count_kinds(shared))


def _verdicts_from(
    judgements: Mapping[str, Dataset], repeats: Mapping[str, Dataset], tombstones: Tombstones
) -> dict[str, str]:
    """Digests of all that says which records are rejected before they are compared."""
    inputs = {f"judgements {name}": each.digest for name, each in judgements.items()}
    inputs |= {f"contamination {name}": each.digest for name, each in repeats.items()}
    return inputs | ({"tombstones": tombstones.digest()} if tombstones else {})


def _decided(
    purpose: Purpose,
    records: RecordTable,
    clusters: Rows,
    sources: Mapping[str, Source],
    *,
    lake: Lake,
    config: CurateConfig,
    progress: Progress | None,
) -> tuple[Decisions, pl.DataFrame]:
    """What becomes of each record, and what those that feed the data set have in common, by source."""
    with sides_before(lake, progress=progress) as before:
        ranks, scrubbed, ranks_before = rank(records.keys, records.scrubbed[1], before.keys)
        known = _known(ranks, ranks_before, before.is_held_out)
        group = groups(records, ranks, scrubbed, clusters)
        content = ranks
        if len(scrubbed):
            content = ranks.copy()
            content[records.scrubbed[0]] = scrubbed
        relations = Relations(content, clusters)
        held_out = sides(
            records,
            ranks,
            group,
            [kept_records(records, relations, sources, each) for each in _SPLIT],
            known,
            share=config.validation_share,
            minimum_documents=config.minimum_documents,
        )
        has_kept = np.zeros(len(records), bool)
        for each in _SPLIT:
            decided = decide(records, relations, held_out, sources, purpose=each)
            has_kept[group[is_kept(records, decided.verdicts, sources, each)]] = True
            del decided
        # Also what was left out beside a kept relative: it may come back once that one is gone.
        is_new = has_kept[group] & (known == UNKNOWN) & (records.verdicts != Verdict.WITHDRAWN)
        del group, has_kept
        _note(before, records, is_new, ranks, held_out.is_held_out)
    is_fed = records.feeding({name: purpose.takes(sources[name]) for name in records.rows_of})
    return (
        decide(records, relations, held_out, sources, purpose=purpose),
        _by_source(records, relations, is_fed & (records.verdicts == Verdict.KEPT)),
    )


def _known(ranks: Rows, ranks_before: Rows, is_held_out: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What was done with each record's content key before."""
    size = max((int(each.max()) + 1 for each in (ranks, ranks_before) if len(each)), default=0)
    by_rank = np.zeros(size, np.uint8)
    by_rank[ranks_before] = np.where(is_held_out, HELD_OUT, TRAINED)
    return by_rank[ranks]


def _note(
    before: Before,
    records: RecordTable,
    is_new: NDArray[np.bool_],
    ranks: Rows,
    is_held_out: NDArray[np.bool_],
) -> None:
    rows = np.flatnonzero(is_new)
    rows = rows[np.unique(ranks[rows], return_index=True)[1]]
    before.add(records.keys[rows], is_held_out[rows])


def _by_source(records: RecordTable, relations: Relations, is_fed: NDArray[np.bool_]) -> pl.DataFrame:
    """Source, content and cluster of the records that have one of the latter in common with another."""
    content, clusters = relations
    often = np.bincount(content[is_fed], minlength=int(content.max(initial=0)) + 1) > 1
    names = pl.Enum(list(records.rows_of))
    frames = [pl.DataFrame(schema={"source": names, "content": pl.UInt32, "cluster": pl.UInt32})]
    for source_id, rows in records.rows_of.items():
        related = is_fed[rows] & (often[content[rows]] | (clusters[rows] != NONE))
        frame = pl.DataFrame({"content": content[rows][related], "cluster": clusters[rows][related]})
        source = pl.lit(source_id, dtype=names)
        frames.append(
            frame.select(source.alias("source"), "content", pl.col("cluster").replace(int(NONE), None))
        )
    return pl.concat(frames)
