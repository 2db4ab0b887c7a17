"""Builds `corpus/documents`, `corpus/conversations` and `corpus/preferences`.

Two passes over the normalized data sets: the first reads keys and decides, the second streams the
records in bounded batches to one part a source.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.card import write_card
from medpipe.curate.cleaning import PrivacyLog, without_repeated
from medpipe.curate.config import CurateConfig
from medpipe.curate.contamination.exams import is_exam_source
from medpipe.curate.decide import EXACT_DUPLICATE
from medpipe.curate.filters import FILTERS_VERSION
from medpipe.curate.findings import CORPUS, Findings, find_out
from medpipe.curate.privacy.scrub import scrub
from medpipe.curate.purposes import REJECTED, Purpose
from medpipe.curate.repeated_passages import find_repeated_passages
from medpipe.lake.dataset import Built, Dataset, Draft, find_reusable, publish
from medpipe.lake.digest import FrameDigest, digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.parquet import ParquetSink
from medpipe.records.keys import joined_content
from medpipe.records.kinds import rejected_columns

BATCH_ROWS = 4096
REVIEW = "review"
ONLY_BOILERPLATE = "only_repeated_passages"
_RAW_CHARACTERS = 2000
_PLACE = ("source", "revision", "path", "row", "part", "content_key", "domain")
"""Columns that say where a record came from; a new revision that changes only them changes no shard."""

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
        lake: where the corpus is published.
        config: thresholds of filters and split.
        catalog: all entries, where the data card looks for what a source was derived from.
        force: build even if the same recipe was built before.
        progress: takes one line of news at a time.

    Returns:
        The data set; parts `<source id>/part-00000.parquet` whose `split` is `train` or `validation` and,
        for documents, whose `tier` is set, `rejected/part-00000.parquet`, and facts by source and domain.

    Raises:
        CurateError: a data set has no catalog entry, or a source is called `rejected`.
    """
    _check_names(normalized, sources)
    recipe = _recipe(purpose, normalized, sources, config)
    if not force and (found := find_reusable(lake, CORPUS, purpose.value, recipe=recipe)):
        return Built(found, reused=True)
    say = progress or (lambda _: None)
    findings = Findings({}, None)
    if normalized:
        findings = find_out(
            purpose, normalized, sources, lake=lake, config=config, force=force, progress=progress
        )
    with publish(lake, CORPUS, purpose.value, recipe=recipe) as draft:
        _write(draft, purpose, normalized, sources, findings, config, catalog, say)
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
    purpose: Purpose, normalized: Mapping[str, Dataset], sources: Mapping[str, Source], config: CurateConfig
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
        "catalog": {source_id: _stated(sources[source_id]) for source_id in feeding},
    }
    return Recipe(
        inputs={source_id: dataset.digest for source_id, dataset in normalized.items()},
        code_version=CODE_VERSION,
        config=settings,
    )


def _stated(source: Source) -> dict[str, Any]:
    """What the data card repeats of a catalog entry."""
    return source.model_dump(mode="json", include={"title", "licence", "genre", "derived_from"})


def _write(
    draft: Draft,
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    findings: Findings,
    config: CurateConfig,
    catalog: Sequence[Source],
    say: Progress,
) -> None:
    """Fills the draft: one part a source, the rejected records, the review sample, the card, facts."""
    decisions = findings.decisions
    personal = None if config.privacy is None else PrivacyLog(config.privacy)
    passages_removed = 0
    by_language: Counter[str] = Counter()
    by_domain: defaultdict[str, Counter[str]] = defaultdict(Counter)
    by_tier: Counter[str] = Counter()
    by_source: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    rejected_path = draft.path / REJECTED / "part-00000.parquet"
    rejected_path.parent.mkdir()
    with ParquetSink(rejected_path, schema=rejected_columns()) as rejected:
        for source_id, decided in decisions.items():
            part = draft.path / source_id / "part-00000.parquet"
            part.parent.mkdir()
            domain_digests: defaultdict[str, FrameDigest] = defaultdict(FrameDigest)
            text_bytes: Counter[str] = Counter()
            reasons: Counter[str] = Counter()
            repeated = _repeated_passages(draft, purpose, sources[source_id], normalized[source_id], config)
            with ParquetSink(part, schema=purpose.schema) as sink:
                records = purpose.records(sources[source_id], normalized[source_id])
                for kept, dropped in _judged(records, decided, source_id):
                    if repeated is not None and config.repeated_passages is not None:
                        kept, removed = without_repeated(kept, repeated, config=config.repeated_passages)
                        passages_removed += removed
                        is_empty = kept["text"].str.strip_chars() == ""
                        nothing_left = kept.filter(is_empty).with_columns(
                            reason=pl.lit(ONLY_BOILERPLATE), detail=pl.lit(None, dtype=pl.String)
                        )
                        kept, dropped = kept.filter(~is_empty), pl.concat([dropped, nothing_left])
                    if personal is not None and purpose is not Purpose.EXAMS:
                        kept = personal.scrub(kept)
                    rejected.write(_as_rejected(dropped, purpose, config))
                    reasons.update(dropped["reason"].to_list())
                    sink.write(kept)
                    if "lang" in kept.columns:
                        by_language.update(kept["lang"].cast(pl.String).to_list())
                    for domain, split in kept.select("domain", "split").iter_rows():
                        by_domain[domain][split] += 1
                    for (domain,), rows in kept.partition_by("domain", as_dict=True).items():
                        domain_digests[str(domain)].update(rows.drop(_PLACE))
                    if purpose is Purpose.DOCUMENTS:
                        by_tier.update(kept["tier"].to_list())
                        sizes = kept.group_by("domain").agg(pl.col("text").str.len_bytes().sum())
                        text_bytes.update(dict(sizes.iter_rows()))
            digests[source_id] = sink.content.hexdigest()
            draft.rows_by_file[f"{source_id}/{part.name}"] = sink.rows
            by_source[source_id] = {
                "records": decided.height,
                "kept": sink.rows,
                "rejected": decided.height - sink.rows,
                "rejected_by_reason": dict(sorted(reasons.items())),
                "content_digest": {name: digest.hexdigest() for name, digest in domain_digests.items()},
            }
            if purpose is Purpose.DOCUMENTS:
                by_source[source_id]["text_bytes"] = dict(text_bytes)
            say(f"corpus/{purpose}: {source_id}: kept {sink.rows:,} of {decided.height:,} records")
    draft.rows_by_file[f"{REJECTED}/{rejected_path.name}"] = rejected.rows
    draft.rows = sum(facts["kept"] for facts in by_source.values())
    reasons_of_all: Counter[str] = Counter()
    for of_source in by_source.values():
        reasons_of_all.update(of_source["rejected_by_reason"])
    draft.facts = {
        "by_source": by_source,
        "rejected_by_reason": dict(sorted(reasons_of_all.items())),
        "by_domain": {
            domain: {"train": 0, "validation": 0} | counts for domain, counts in sorted(by_domain.items())
        },
        "by_language": dict(sorted(by_language.items())),
        "privacy": {} if personal is None else dict(sorted(personal.counts.items())),
        "passages_removed": passages_removed,
        "overlap": [] if findings.overlap is None else _overlap_rows(findings.overlap),
    }
    if purpose is Purpose.DOCUMENTS:
        draft.facts["by_tier"] = dict(sorted(by_tier.items()))
        draft.facts["filters"] = FILTERS_VERSION
    if personal is not None:
        (draft.path / REVIEW).mkdir()
        personal.review.drop("position", "draw").write_parquet(draft.path / REVIEW / "privacy.parquet")
    card = write_card(draft.path, purpose, draft.facts, sources, normalized, config, catalog=catalog)
    draft.content_digest = digest_value(
        {"records": digests, "rejected": rejected.content.hexdigest(), "card": card}
    )


def _overlap_rows(overlap: pl.DataFrame) -> list[dict[str, Any]]:
    return overlap.with_columns(pl.col("source", "other").cast(pl.String)).to_dicts()


def _repeated_passages(
    draft: Draft, purpose: Purpose, source: Source, normalized: Dataset, config: CurateConfig
) -> NDArray[np.uint64] | None:
    """The boilerplate of a source's documents; None where none is looked for."""
    if purpose is not Purpose.DOCUMENTS or config.repeated_passages is None:
        return None
    texts = purpose.records(source, normalized).select("text")
    return find_repeated_passages(texts, folder=draft.path.parent, config=config.repeated_passages)


def _judged(
    records: pl.LazyFrame, decided: pl.DataFrame, source_id: str
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Batches of (kept records with their final split, rejected records with reason and detail)."""
    done = 0
    for batch in records.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        verdict = decided.slice(done, batch.height)
        if not batch["id"].equals(verdict["id"]):
            raise RuntimeError(f"{source_id}: the records changed between two readings; build again")
        done += batch.height
        judged = batch.with_columns(verdict["split"], verdict["reason"], verdict["detail"])
        if "tier" in batch.columns:
            judged = judged.with_columns(verdict["tier"])
        is_kept = pl.col("reason").is_null()
        yield judged.filter(is_kept).drop("reason", "detail"), judged.filter(~is_kept)
    if done != decided.height:
        raise RuntimeError(
            f"{source_id}: {done:,} records where {decided.height:,} were decided; build again"
        )


def _as_rejected(dropped: pl.DataFrame, purpose: Purpose, config: CurateConfig) -> pl.DataFrame:
    """Rows of the `Rejected` schema; a duplicate's text stands in the record that `detail` names."""
    text = joined_content(purpose.kind)
    rows = dropped.select(
        "source",
        "revision",
        "path",
        "row",
        "reason",
        "detail",
        raw=pl.when(pl.col("reason") != EXACT_DUPLICATE).then(text),
    )
    if config.privacy is not None:
        # Before it is cut: half a number is no number to the rules.
        rows = rows.with_columns(scrub(rows["raw"], config=config.privacy).texts.alias("raw"))
    return rows.with_columns(pl.col("raw").str.head(_RAW_CHARACTERS))
