"""The data card that lies beside every corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate.config import CurateConfig
from medpipe.curate.data_card import DataCard, FilterFacts, Overlap, build_card, source_facts
from medpipe.curate.filters.registry import RULES
from medpipe.curate.licences import LicencePurpose, gate
from medpipe.curate.purposes import Purpose, scan_records
from medpipe.lake.dataset import Dataset

MARKDOWN, JSON = "card.md", "card.json"


def write_card(
    folder: Path,
    purpose: Purpose,
    facts: Mapping[str, Any],
    sources: Mapping[str, Source],
    normalized: Mapping[str, Dataset],
    config: CurateConfig,
    *,
    catalog: Sequence[Source],
) -> str:
    """Writes `card.md` and `card.json` from what curation counted; returns the latter's text."""
    card = card_of(purpose, facts, sources, normalized, config, catalog=catalog)
    (folder / MARKDOWN).write_text(card.markdown(), encoding="utf-8")
    (folder / JSON).write_text(card.json_text(), encoding="utf-8")
    return card.json_text()


def card_of(
    purpose: Purpose,
    facts: Mapping[str, Any],
    sources: Mapping[str, Source],
    normalized: Mapping[str, Dataset],
    config: CurateConfig,
    *,
    catalog: Sequence[Source],
) -> DataCard:
    """The card of one data set of the corpus.

    The licences are told as for research; the licence gate of a build says what its own purpose allows.
    """
    counted = facts["by_source"]
    splits: Counter[str] = Counter()
    for counts in facts["by_domain"].values():
        splits.update(counts)
    return build_card(
        f"corpus/{purpose.value}",
        gate=gate([sources[name] for name in counted], LicencePurpose.RESEARCH, catalog=catalog),
        sources=[
            source_facts(
                sources[name],
                revision=_revision(sources[name], normalized[name]),
                records=of["records"],
                kept=of["kept"],
                rejected=of["rejected_by_reason"],
            )
            for name, of in counted.items()
        ],
        languages=facts["by_language"],
        domains={domain: sum(counts.values()) for domain, counts in facts["by_domain"].items()},
        splits=splits,
        tiers=facts.get("by_tier"),
        filters=[
            FilterFacts(
                name=rule.name,
                measures=rule.what,
                thresholds={
                    language.value: limit.model_dump(exclude_none=True)
                    for language, limit in rule.limits.items()
                },
                reference=rule.source or None,
            )
            for rule in RULES.values()
        ],
        privacy=facts["privacy"],
        deduplication={
            "exact": "content key",
            "near": None
            if config.near_duplicates is None
            else config.near_duplicates.model_dump(mode="json"),
            "passages removed": facts["passages_removed"],
        },
        overlaps=[
            Overlap(source=row["source"], other=row["other"], records=row["documents"], kind="near")
            for row in facts["overlap"]
            if row["source"] != row["other"]
        ],
        contamination={} if config.contamination is None else config.contamination.model_dump(mode="json"),
    )


def _revision(source: Source, normalized: Dataset) -> str:
    """The revision that the records were read from."""
    revisions = scan_records(source, normalized).select(pl.col("revision").first()).collect()
    return str(revisions.item() or "—") if revisions.height else "—"
