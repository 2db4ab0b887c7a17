"""Builds `corpus/documents`, `corpus/conversations` and `corpus/preferences`.

Two passes over the normalized data sets: the first reads keys and decides, the second streams the
records in bounded batches to one part a source, or takes over a part that is there already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.card import write_card
from medpipe.curate.config import CurateConfig
from medpipe.curate.contamination.exams import is_exam_source
from medpipe.curate.filters import FILTERS_VERSION
from medpipe.curate.findings import CORPUS, Findings, find_out
from medpipe.curate.licence_statements import stated_parents
from medpipe.curate.part import Earlier, Part, find_parts
from medpipe.curate.part_writer import REVIEW, PartWriter
from medpipe.curate.purposes import REJECTED, Purpose
from medpipe.lake.dataset import Built, Dataset, Draft, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.tombstones import Tombstones, read_tombstones

Progress = Callable[[str], None]


class CurateError(ValueError):
    """The corpus cannot be built from what was given; the message says what to change."""


def build_corpus(
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    *,
    lake: Lake,
    config: CurateConfig = CurateConfig(),  # noqa: B008 - frozen
    catalog: Sequence[Source] = (),
    force: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Builds one data set of the corpus.

    Args:
        purpose: which one; conversations become documents by their source's template.
        normalized: the normalized data sets by source id, of every enabled source, in the catalog's
            order: the first publisher of a text keeps it, and what one of them holds out, whatever its
            use, is held out everywhere.
        sources: the catalog's entries by id.
        lake: where the corpus is published, and the tombstones are: what they name is left out whatever
            else is said of it.
        config: thresholds of filters and split.
        catalog: all entries, where the data card looks for what a source was derived from.
        force: build all of it, even if the same recipe was built before.
        progress: takes one line of news at a time.

    Returns:
        The data set; parts `<source id>/part-00000.parquet` whose `split` is `train` or `validation` and,
        for documents, whose `tier` is set, `rejected/part-<source id>.parquet`, and facts by source and
        domain.

    Raises:
        CurateError: a data set has no catalog entry, or a source is called `rejected`.
        TombstoneError: what was withdrawn cannot be read.
        DiskFullError: the disk filled; what was there before stays.
    """
    _check_names(normalized, sources)
    tombstones = read_tombstones(lake)
    recipe = _recipe(purpose, normalized, sources, config, catalog, tombstones)
    if not force and (found := find_reusable(lake, CORPUS, purpose.value, recipe=recipe)):
        return Built(found, reused=True)
    say = progress or (lambda _: None)
    findings = None
    if normalized:
        findings = find_out(
            purpose,
            normalized,
            sources,
            lake=lake,
            config=config,
            tombstones=tombstones,
            force=force,
            progress=progress,
        )
    earlier = {} if force else find_parts(lake, purpose)
    with publish(lake, CORPUS, purpose.value, recipe=recipe) as draft:
        _write(draft, purpose, normalized, sources, findings, config, catalog, earlier, say)
    return Built(draft.dataset, reused=False)


def _check_names(normalized: Mapping[str, Dataset], sources: Mapping[str, Source]) -> None:
    unknown = [source_id for source_id in normalized if source_id not in sources]
    if unknown:
        raise CurateError(
            f"no catalog entry for the normalized data of {', '.join(unknown)}; pass the catalog's sources"
        )
    for name in (REJECTED, REVIEW):
        if name in normalized:
            raise CurateError(f"a source cannot be called '{name}': the corpus has a folder of its own there")


def _recipe(
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    config: CurateConfig,
    catalog: Sequence[Source],
    tombstones: Tombstones,
) -> Recipe:
    feeding = [source_id for source_id in normalized if purpose.takes(sources[source_id])]
    settings: dict[str, Any] = {
        "curate": config.model_dump(mode="json"),
        "order": list(normalized),
        "exams": [s for s in normalized if is_exam_source(sources[s])],
        "feeding": {each.value: [s for s in normalized if each.takes(sources[s])] for each in Purpose},
        "templates": {
            source_id: template.value if (template := sources[source_id].template) else None
            for source_id in normalized
        },
        "catalog": {source_id: _stated(sources[source_id], catalog) for source_id in feeding},
    }
    if tombstones:
        settings["tombstones"] = tombstones.digest()
    return Recipe(
        inputs={source_id: dataset.digest for source_id, dataset in normalized.items()},
        code_version=CODE_VERSION,
        config=settings,
    )


def _stated(source: Source, catalog: Sequence[Source]) -> dict[str, Any]:
    """What the data card repeats of a catalog entry, and of those that it is derived from."""
    own = source.model_dump(mode="json", include={"title", "licence", "genre", "derived_from"})
    return own | {"parents": stated_parents(source, catalog)}


def _write(
    draft: Draft,
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    findings: Findings | None,
    config: CurateConfig,
    catalog: Sequence[Source],
    earlier: dict[str, Earlier],
    say: Progress,
) -> None:
    """Fills the draft: one part a source, the rejected records, the review sample, the card, facts."""
    parts: dict[str, Part] = {}
    digest = ""
    if findings is not None:
        writer = PartWriter(draft, purpose, findings, config, earlier)
        for source_id in (each for each in normalized if purpose.takes(sources[each])):
            part, is_linked = writer.add(sources[source_id], normalized[source_id])
            parts[source_id] = part
            say(
                f"corpus/{purpose}: {source_id}: kept {part.kept:,} of {part.records:,} records"
                + (", as before" if is_linked else "")
            )
        digest = writer.finish(parts)
    draft.rows = sum(part.kept for part in parts.values())
    draft.facts = {
        "by_source": {source_id: part.about_source() for source_id, part in parts.items()},
        "parts": {source_id: part.about_part() for source_id, part in parts.items()},
        "rejected_by_reason": _sum(part.rejected_by_reason for part in parts.values()),
        "by_domain": {
            domain: {"train": 0, "validation": 0} | _sum(p.by_domain.get(domain, {}) for p in parts.values())
            for domain in sorted({domain for part in parts.values() for domain in part.by_domain})
        },
        "by_language": _sum(part.by_language for part in parts.values()),
        "privacy": _sum(part.privacy for part in parts.values()),
        "passages_removed": sum((part.repeated_passages or {}).get("removed", 0) for part in parts.values()),
        "licence_purpose": config.licences.purpose.value,
        "overlap": [] if findings is None else _overlap_rows(findings.overlap),
    }
    if purpose is Purpose.DOCUMENTS:
        draft.facts["by_tier"] = _sum(part.by_tier or {} for part in parts.values())
        draft.facts["filters"] = FILTERS_VERSION
    card = write_card(draft.path, purpose, draft.facts, sources, normalized, config, catalog=catalog)
    draft.content_digest = digest_value({"records": digest, "card": card})


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _overlap_rows(overlap: pl.DataFrame) -> list[dict[str, Any]]:
    return overlap.with_columns(pl.col("source", "other").cast(pl.String)).to_dicts()
