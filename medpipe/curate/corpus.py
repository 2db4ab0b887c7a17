"""Builds `corpus/documents`, `corpus/conversations` and `corpus/preferences`.

Two passes over the normalized data sets: the first reads keys and decides, the second streams the
records in bounded batches to one part a source.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.config import CurateConfig
from medpipe.curate.decide import TOO_SHORT, decide, read_keys
from medpipe.curate.purposes import Purpose
from medpipe.curate.tier import RULE
from medpipe.lake.dataset import Built, Dataset, Draft, find_reusable, publish
from medpipe.lake.digest import FrameDigest, digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.parquet import ParquetSink
from medpipe.records.keys import joined_content
from medpipe.records.kinds import rejected_columns

ROOM = "corpus"
BATCH_ROWS = 4096
REJECTED = "rejected"
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
    if not force and (found := find_reusable(lake, ROOM, purpose.value, recipe=recipe)):
        return Built(found, reused=True)
    say = progress or (lambda _: None)
    decisions: dict[str, pl.DataFrame] = {}
    if normalized:
        say(f"corpus/{purpose}: reading the keys of {len(normalized)} sources")
        keys = read_keys(normalized, sources, config=config)
        decisions = decide(keys, sources, purpose=purpose, config=config)
        del keys
    with publish(lake, ROOM, purpose.value, recipe=recipe) as draft:
        _write(draft, purpose, normalized, sources, decisions, say)
    return Built(draft.dataset, reused=False)


def _check_names(normalized: Mapping[str, Dataset], sources: Mapping[str, Source]) -> None:
    unknown = [source_id for source_id in normalized if source_id not in sources]
    if unknown:
        raise CurateError(
            f"no catalog entry for the normalized data of {', '.join(unknown)}; pass the catalog's sources"
        )
    if REJECTED in normalized:
        raise CurateError(
            f"a source cannot be called '{REJECTED}': its folder holds what was rejected; rename it"
        )


def _recipe(
    purpose: Purpose, normalized: Mapping[str, Dataset], sources: Mapping[str, Source], config: CurateConfig
) -> Recipe:
    feeding = [source_id for source_id in normalized if purpose.takes(sources[source_id])]
    settings: dict[str, Any] = {
        "curate": config.model_dump(mode="json"),
        "order": list(normalized),
        "feeding": {each.value: [s for s in normalized if each.takes(sources[s])] for each in Purpose},
    }
    if purpose is Purpose.DOCUMENTS:
        settings["tier_rule"] = RULE
        settings["templates"] = {
            source_id: template.value if (template := sources[source_id].template) else None
            for source_id in feeding
        }
    return Recipe(
        inputs={source_id: dataset.digest for source_id, dataset in normalized.items()},
        code_version=CODE_VERSION,
        config=settings,
    )


def _write(
    draft: Draft,
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    decisions: Mapping[str, pl.DataFrame],
    say: Progress,
) -> None:
    """Fills the draft: one part a source, the rejected records, facts."""
    reasons: Counter[str] = Counter()
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
            with ParquetSink(part, schema=purpose.schema) as sink:
                records = purpose.records(sources[source_id], normalized[source_id])
                for kept, dropped in _judged(records, decided, source_id):
                    rejected.write(_as_rejected(dropped, purpose))
                    reasons.update(dropped["reason"].to_list())
                    sink.write(kept)
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
                "content_digest": {name: digest.hexdigest() for name, digest in domain_digests.items()},
            }
            if purpose is Purpose.DOCUMENTS:
                by_source[source_id]["text_bytes"] = dict(text_bytes)
            say(f"corpus/{purpose}: {source_id}: kept {sink.rows:,} of {decided.height:,} records")
    draft.rows_by_file[f"{REJECTED}/{rejected_path.name}"] = rejected.rows
    draft.rows = sum(facts["kept"] for facts in by_source.values())
    draft.content_digest = digest_value({"records": digests, "rejected": rejected.content.hexdigest()})
    draft.facts = {
        "by_source": by_source,
        "rejected_by_reason": dict(sorted(reasons.items())),
        "by_domain": {
            domain: {"train": counts["train"], "validation": counts["validation"]}
            for domain, counts in sorted(by_domain.items())
        },
    }
    if purpose is Purpose.DOCUMENTS:
        draft.facts["by_tier"] = dict(sorted(by_tier.items()))
        draft.facts["tier_rule"] = RULE


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
        is_kept = pl.col("reason").is_null()
        yield judged.filter(is_kept).drop("reason", "detail"), judged.filter(~is_kept)
    if done != decided.height:
        raise RuntimeError(
            f"{source_id}: {done:,} records where {decided.height:,} were decided; build again"
        )


def _as_rejected(dropped: pl.DataFrame, purpose: Purpose) -> pl.DataFrame:
    """Rows of the `Rejected` schema; a duplicate's text stands in the record that `detail` names."""
    text = joined_content(purpose.kind).str.head(_RAW_CHARACTERS)
    return dropped.select(
        "source",
        "revision",
        "path",
        "row",
        "reason",
        "detail",
        raw=pl.when(pl.col("reason") == TOO_SHORT).then(text),
    )
