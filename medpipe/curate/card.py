"""The data card that lies beside every corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate.config import CurateConfig
from medpipe.curate.contamination.exams import is_exam_source
from medpipe.curate.data_card import DataCard, FilterFacts, Overlap, PassageFacts, build_card, source_facts
from medpipe.curate.filters.describe import configured_limits
from medpipe.curate.filters.registry import RULES
from medpipe.curate.judgement import TOO_SHORT
from medpipe.curate.licence_statements import unknown_parents
from medpipe.curate.licences import gate
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
    """The card of one data set of the corpus, with the settings that it was really built with."""
    counted = facts["by_source"]
    splits: Counter[str] = Counter()
    for counts in facts["by_domain"].values():
        splits.update(counts)
    stated = config.licences
    return build_card(
        f"corpus/{purpose.value}",
        gate=gate([sources[name] for name in counted], stated.purpose, catalog=catalog, config=stated),
        cleared={"licences": stated.allow_licences, "sources": stated.accepted_sources},
        sources=[
            source_facts(
                sources[name],
                revision=_revision(sources[name], normalized[name]),
                records=of["records"],
                kept=of["kept"],
                rejected=of["rejected_by_reason"],
                unknown_parents=unknown_parents(sources[name], catalog or tuple(sources.values())),
            )
            for name, of in counted.items()
        ],
        languages=facts["by_language"],
        domains={domain: sum(counts.values()) for domain, counts in facts["by_domain"].items()},
        splits=splits,
        split_rule=_split_rule(purpose, config),
        tiers=facts.get("by_tier"),
        filters=_filters(purpose, config),
        privacy=_privacy(purpose, facts, config),
        deduplication={
            "exact": "content key",
            "near": None
            if config.near_duplicates is None or purpose is Purpose.EXAMS
            else config.near_duplicates.model_dump(mode="json"),
        },
        repeated_passages=_repeated_passages(purpose, facts, config),
        passages=[
            PassageFacts(source=name, **passage)
            for name, of in counted.items()
            for passage in of.get("repeated_passages", {}).get("passages", ())
        ],
        overlaps=[
            Overlap(source=row["source"], other=row["other"], records=row["documents"], kind=row["kind"])
            for row in facts["overlap"]
            if row["source"] != row["other"]
        ],
        contamination=_contamination(purpose, normalized, sources, config),
        limits=_LIMITS,
    )


_LIMITS = (
    "Names of persons and postal addresses in texts are not looked for.",
    "A telephone number of a fixed line is found only beside a word that says what it is.",
    "Licences are those that the catalog knows; a source may hold texts of others.",
)
_JUDGED = (Purpose.DOCUMENTS, Purpose.CONVERSATIONS)


def _split_rule(purpose: Purpose, config: CurateConfig) -> dict[str, Any]:
    if purpose is Purpose.EXAMS:
        return {"rule": "as their publishers split them"}
    return {
        "rule": "groups of equal, similar and related records, by what publishers hold out, else by a draw "
        "on the smallest content key; a side never changes",
        "validation_share": config.validation_share,
        "minimum_documents": config.minimum_documents,
    }


def _filters(purpose: Purpose, config: CurateConfig) -> list[FilterFacts]:
    length = FilterFacts(
        name=TOO_SHORT,
        measures="characters other than spaces",
        thresholds={"least": config.minimum_characters},
    )
    return [length] + [
        FilterFacts(
            name=rule.name,
            measures=rule.what,
            thresholds=dict(configured_limits(rule, config.filters)),
            reference=rule.source or None,
        )
        for rule in (RULES.values() if purpose in _JUDGED else ())
    ]


def _privacy(purpose: Purpose, facts: Mapping[str, Any], config: CurateConfig) -> dict[str, int]:
    if config.privacy is None or purpose is Purpose.EXAMS:
        return {}
    from medpipe.curate.privacy.rules import RULES as PRIVACY_RULES

    counts: dict[str, int] = facts["privacy"]
    return dict.fromkeys(config.privacy.rules or PRIVACY_RULES, 0) | counts


def _repeated_passages(purpose: Purpose, facts: Mapping[str, Any], config: CurateConfig) -> dict[str, Any]:
    if purpose is not Purpose.DOCUMENTS:
        return {}
    if config.repeated_passages is None:
        return {"state": "left in"}
    return config.repeated_passages.model_dump(mode="json") | {"removed": facts["passages_removed"]}


def _contamination(
    purpose: Purpose,
    normalized: Mapping[str, Dataset],
    sources: Mapping[str, Source],
    config: CurateConfig,
) -> dict[str, Any]:
    if purpose is Purpose.EXAMS:
        return {}
    if config.contamination is None:
        return {"state": "not looked for"}
    return config.contamination.model_dump(mode="json") | {
        "exams": [name for name in sorted(normalized) if is_exam_source(sources[name])],
    }


def _revision(source: Source, normalized: Dataset) -> str:
    """The revision that the records were read from."""
    revisions = scan_records(source, normalized).select(pl.col("revision").first()).collect()
    return str(revisions.item() or "—") if revisions.height else "—"
