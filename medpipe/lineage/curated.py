"""What became of records in the corpus: kept on which side and tier, or left out and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from medpipe.curate.purposes import Purpose
from medpipe.curate.verdicts import EXACT_DUPLICATE, NEAR_DUPLICATE
from medpipe.lake.dataset import Dataset
from medpipe.lineage.search import Record
from medpipe.lineage.stages import NORMALIZED, Stages, kept_files, scan_rejected

DUPLICATES = (EXACT_DUPLICATE, NEAR_DUPLICATE)
"""Reasons whose detail is the id of the record that stayed."""
_LONGEST_CHAIN = 16


@dataclass(frozen=True, kw_only=True)
class Curated:
    """What one data set of the corpus made of a record."""

    purpose: str
    digest: str
    """Of the data set."""
    state: str
    """`kept`, `rejected`, or `absent`: the data set was made of other records."""
    split: str | None = None
    tier: str | None = None
    domain: str | None = None
    reason: str | None = None
    detail: str | None = None
    stayed: tuple[str, ...] = ()
    """Of a duplicate: ids of the record it repeats, of the one that one repeats, and so on to the one that
    stayed or was left out for another reason."""


def curated(records: Sequence[Record], stages: Stages) -> dict[tuple[str, str, int, int], list[Curated]]:
    """What each data set of the corpus made of some records, by the place of the record.

    A source that does not feed a data set has no entry for it.
    """
    by_place: defaultdict[tuple[str, str, int, int], list[Curated]] = defaultdict(list)
    for purpose, corpus in stages.corpora.items():
        fed = corpus.manifest.facts.get("by_source", {})
        for source in dict.fromkeys(record.source for record in records):
            if source not in fed and not kept_files(corpus, source):
                continue
            asked = [record for record in records if record.source == source]
            for record, found in _of_source(asked, purpose, corpus, stages):
                by_place[record.place].append(found)
    return by_place


def _of_source(
    records: Sequence[Record], purpose: Purpose, corpus: Dataset, stages: Stages
) -> Iterable[tuple[Record, Curated]]:
    source = records[0].source
    kept = _kept(corpus, source, records)
    rejected = _rejected(corpus, source, records)
    parts = _parts(stages.normalized.get(source), records)
    for record in records:
        place = record.path, record.row
        if (found := kept.get((*place, record.part))) is not None and found["id"] == record.id:
            yield (
                record,
                Curated(
                    purpose=purpose.value,
                    digest=corpus.digest,
                    state="kept",
                    split=found["split"],
                    tier=found.get("tier"),
                    domain=found["domain"],
                ),
            )
            continue
        # Rejected rows know file and row but not the part; they stand in the order of the parts.
        left_out = [part for part in parts.get(place, [record.part]) if (*place, part) not in kept]
        reasons = rejected.get(place, [])
        if record.part not in left_out or len(left_out) != len(reasons):
            yield record, Curated(purpose=purpose.value, digest=corpus.digest, state="absent")
            continue
        reason, detail = reasons[left_out.index(record.part)]
        chain = _follow(detail, corpus, stages) if reason in DUPLICATES and detail else ()
        yield (
            record,
            Curated(
                purpose=purpose.value,
                digest=corpus.digest,
                state="rejected",
                domain=record.domain,
                reason=reason,
                detail=detail,
                stayed=chain,
            ),
        )


def _kept(
    corpus: Dataset, source: str, records: Sequence[Record]
) -> dict[tuple[str, int, int], dict[str, str]]:
    files = kept_files(corpus, source)
    if not files:
        return {}
    frame = pl.scan_parquet(files)
    names = frame.collect_schema().names()
    wanted = [name for name in ("id", "split", "tier", "domain") if name in names]
    rows = (
        frame.filter(pl.col("row").is_in([record.row for record in records]))
        .select("path", "row", "part", *(pl.col(name).cast(pl.String) for name in wanted))
        .collect(engine="streaming")
    )
    return {(row["path"], row["row"], row["part"]): row for row in rows.iter_rows(named=True)}


def _rejected(
    corpus: Dataset, source: str, records: Sequence[Record]
) -> dict[tuple[str, int], list[tuple[str, str | None]]]:
    rows = (
        scan_rejected(corpus)
        .filter(pl.col("source") == source, pl.col("row").is_in([record.row for record in records]))
        .select("path", "row", "reason", "detail")
        .collect(engine="streaming")
    )
    found: defaultdict[tuple[str, int], list[tuple[str, str | None]]] = defaultdict(list)
    for path, row, reason, detail in rows.iter_rows():
        found[path, row].append((reason, detail))
    return found


def _parts(normalized: Dataset | None, records: Sequence[Record]) -> dict[tuple[str, int], list[int]]:
    """The parts of each row, in order."""
    if normalized is None:
        return {}
    rows = (
        pl.scan_parquet(normalized.files("part-*.parquet"))
        .filter(pl.col("row").is_in([record.row for record in records]))
        .select("path", "row", "part")
        .collect(engine="streaming")
    )
    found: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for path, row, part in rows.iter_rows():
        found[path, row].append(part)
    return found


def _follow(first: str, corpus: Dataset, stages: Stages) -> tuple[str, ...]:
    """The ids from the record that a duplicate names to the one that stayed."""
    chain = [first]
    while len(chain) < _LONGEST_CHAIN:
        found = _pointer(chain[-1], corpus, stages)
        if found is None or found in chain:
            break
        chain.append(found)
    return tuple(chain)


def _pointer(record_id: str, corpus: Dataset, stages: Stages) -> str | None:
    """The id that a record was left out for as a duplicate; None if it stayed, or was left out otherwise."""
    for source, normalized in stages.normalized.items():
        files = normalized.files("part-*.parquet")
        if not files or normalized.manifest.room != NORMALIZED:
            continue
        rows = pl.scan_parquet(files).filter(pl.col("id") == record_id).select("path", "row").collect()
        if not rows.height:
            continue
        kept = kept_files(corpus, source)
        if kept and pl.scan_parquet(kept).filter(pl.col("id") == record_id).head(1).collect().height:
            return None
        left_out = (
            scan_rejected(corpus)
            .filter(pl.col("source") == source, pl.col("reason").is_in(DUPLICATES))
            .join(rows.lazy(), on=["path", "row"], how="semi")
            .select("detail")
            .collect(engine="streaming")
        )
        return None if left_out.is_empty() else left_out.item(0, 0)
    return None
