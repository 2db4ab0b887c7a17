"""The data card: what a corpus is made of and what was done to it, as Markdown and JSON.

A card holds facts only, no time and no path, so that the same corpus has the same card to the byte. Its front
matter is the one that the hub reads at the top of a data set's README.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medpipe.catalog.choices import web_page
from medpipe.catalog.source import Source
from medpipe.curate.licences import GateResult, LicencePurpose, licence_as_stated

SCHEMA_VERSION = 2
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFacts(_Fact):
    """One source of the corpus."""

    id: str
    title: str
    page: str | None = None
    revision: str
    licence: str
    """As the catalog states it."""
    languages: tuple[str, ...]
    domains: tuple[str, ...]
    genre: str | None = None
    derived_from: tuple[str, ...] = ()
    unknown_parents: tuple[str, ...] = ()
    """What it repeats, directly or not, that no entry of the catalog describes."""
    records: int = Field(ge=0)
    """Normalised records that came in."""
    kept: int = Field(ge=0)
    rejected: dict[str, int] = {}
    """Records by reason."""


class FilterFacts(_Fact):
    """One rule that judges or changes texts."""

    name: str
    """With its version, such as `gopher_repetition_v1/top_2_gram`."""
    measures: str
    thresholds: dict[str, Any] = {}
    """Of this build, by language or by name; empty if the rule was off."""
    reference: str | None = None
    """Paper or specification that it comes from."""


class Overlap(_Fact):
    """Records that two sources share."""

    source: str
    other: str
    records: int = Field(ge=0)
    kind: str = "exact"
    """`exact` by content key, or `near` by cluster, of records whose content `other` does not have."""


class PassageFacts(_Fact):
    """A passage that was removed as boilerplate."""

    source: str
    passage: str
    """Its beginning, personal data replaced."""
    documents: int = Field(ge=0)
    """Kept documents that it stood in."""
    removed: int = Field(ge=0)
    """Times that it was removed."""


class DataCard(_Fact):
    """What a person should know of a corpus before training on it."""

    schema_version: int = SCHEMA_VERSION
    name: str
    """Of the data set, such as `corpus/documents`."""
    purpose: LicencePurpose
    """What it was built for."""
    licence_warnings: tuple[str, ...] = ()
    cleared: dict[str, tuple[str, ...]] = {}
    """What the person who built it has cleared: `licences` and `sources`."""
    sources: tuple[SourceFacts, ...]
    languages: dict[str, int]
    """Kept records by language."""
    domains: dict[str, int]
    tiers: dict[str, int] = {}
    splits: dict[str, int]
    split_rule: dict[str, Any] = {}
    """How held-out records were chosen."""
    filters: tuple[FilterFacts, ...] = ()
    privacy: dict[str, int] = {}
    """Replacements by rule that was on; empty if none was."""
    deduplication: dict[str, Any] = {}
    """Settings."""
    repeated_passages: dict[str, Any] = {}
    """Settings, and passages removed."""
    passages: tuple[PassageFacts, ...] = ()
    """The most frequent of them."""
    overlaps: tuple[Overlap, ...] = ()
    contamination: dict[str, Any] = {}
    """Settings, and the sources whose items were looked for."""
    limits: tuple[str, ...] = ()
    """What is known to be wrong or missing, a sentence each."""

    def json_text(self) -> str:
        """The card as JSON: keys in order, indented, with a line end."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=2, sort_keys=True) + "\n"

    def markdown(self) -> str:
        """The card as Markdown, with the front matter of the hub."""
        from medpipe.curate.data_card_markdown import render

        return render(self)

    @property
    def kept(self) -> int:
        """Records in the corpus."""
        return sum(source.kept for source in self.sources)

    @property
    def size_category(self) -> str:
        """The hub's name for the number of records."""
        return next((name for limit, name in _SIZES if self.kept < limit), "n>1B")


def source_facts(
    source: Source,
    *,
    revision: str,
    records: int,
    kept: int,
    rejected: Mapping[str, int] | None = None,
    unknown_parents: Sequence[str] = (),
) -> SourceFacts:
    """The facts of one source, from its catalog entry and from what curation counted.

    Args:
        source: the catalog's entry.
        revision: the commit that was read.
        records: normalised records that came in.
        kept: records in the corpus.
        rejected: records left out, by reason.
        unknown_parents: what it repeats that the catalog has no entry of.

    Raises:
        ValueError: kept and rejected records are not all that came in.
    """
    rejected = {} if rejected is None else dict(sorted(rejected.items()))
    if kept + sum(rejected.values()) != records:
        raise ValueError(
            f"{source.id}: {kept:,} kept and {sum(rejected.values()):,} rejected records are not the "
            f"{records:,} that came in; count every record once"
        )
    languages = {source.language.value, *(file.language.value for file in source.files if file.language)}
    return SourceFacts(
        id=source.id,
        title=source.title,
        page=web_page(source),
        revision=revision,
        licence=licence_as_stated(source.licence),
        languages=tuple(sorted(languages)),
        domains=tuple(domain.value for domain in source.domains),
        genre=None if source.genre is None else source.genre.value,
        derived_from=source.derived_from,
        unknown_parents=tuple(sorted(unknown_parents)),
        records=records,
        kept=kept,
        rejected=rejected,
    )


def build_card(
    name: str,
    *,
    gate: GateResult,
    sources: Iterable[SourceFacts],
    languages: Mapping[str, int],
    domains: Mapping[str, int],
    splits: Mapping[str, int],
    tiers: Mapping[str, int] | None = None,
    filters: Iterable[FilterFacts] = (),
    privacy: Mapping[str, int] | None = None,
    deduplication: Mapping[str, Any] | None = None,
    overlaps: Iterable[Overlap] = (),
    contamination: Mapping[str, Any] | None = None,
    limits: Sequence[str] = (),
    cleared: Mapping[str, Sequence[str]] | None = None,
    split_rule: Mapping[str, Any] | None = None,
    repeated_passages: Mapping[str, Any] | None = None,
    passages: Iterable[PassageFacts] = (),
) -> DataCard:
    """Builds the card of a corpus; the order in which facts are given makes no difference.

    Args:
        name: of the data set.
        gate: what the licence gate said.
        sources: every source that feeds the corpus, those of which nothing was kept too.
        languages: kept records by language.
        domains: kept records by domain.
        splits: kept records by split.
        tiers: kept records by tier.
        filters: every rule that judged or changed texts.
        privacy: replacements by rule.
        deduplication: settings of exact and near-duplicates.
        overlaps: records that sources share; pairs without any are left out.
        contamination: settings, and exam sources.
        limits: what is known to be wrong or missing; these keep their order.
        cleared: what a person has cleared, `licences` and `sources`.
        split_rule: how held-out records were chosen.
        repeated_passages: settings of the search for boilerplate, and what it removed.
        passages: the most frequent of these.

    Raises:
        ValueError: a source stands twice, or a table by language, domain, split or tier does not add up to
            the kept records.
    """
    ordered = tuple(sorted(sources, key=lambda source: source.id))
    ids = [source.id for source in ordered]
    if repeated := sorted({source_id for source_id in ids if ids.count(source_id) > 1}):
        raise ValueError(f"{', '.join(repeated)} stands twice among the sources; give each source once")
    card = DataCard(
        name=name,
        purpose=gate.purpose,
        licence_warnings=tuple(sorted(gate.warnings)),
        sources=ordered,
        languages=_counted(languages),
        domains=_counted(domains),
        tiers=_counted(tiers or {}),
        splits=_counted(splits),
        filters=tuple(sorted(filters, key=lambda rule: rule.name)),
        privacy=dict(sorted((privacy or {}).items())),
        deduplication=dict(deduplication or {}),
        overlaps=tuple(
            sorted(
                (overlap for overlap in overlaps if overlap.records),
                key=lambda overlap: (-overlap.records, overlap.source, overlap.other, overlap.kind),
            )
        ),
        contamination=dict(contamination or {}),
        limits=tuple(limits),
        cleared={name: tuple(sorted(each)) for name, each in sorted((cleared or {}).items()) if each},
        split_rule=dict(split_rule or {}),
        repeated_passages=dict(repeated_passages or {}),
        passages=tuple(sorted(passages, key=lambda each: (-each.removed, each.source, each.passage))),
    )
    for table in ("languages", "domains", "splits", "tiers"):
        counts: dict[str, int] = getattr(card, table)
        if counts and sum(counts.values()) != card.kept:
            raise ValueError(
                f"{name}: the records by {table} are {sum(counts.values()):,}, the kept ones {card.kept:,}; "
                "count the same records in both"
            )
    return card


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return {key: counts[key] for key in sorted(counts) if counts[key]}
