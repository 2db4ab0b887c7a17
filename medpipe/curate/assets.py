"""`corpus/*`: one corpus of every kind, without duplicates, split into train and validation."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from medpipe.asset_metadata import (
    CORPUS_GROUP,
    OWNERS,
    Rebuild,
    dataset_metadata,
    facts_table,
    picture,
    plain_failures,
    preview,
    reasons_table,
    table_schema,
)
from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.contamination.config import ContaminationConfig
from medpipe.curate.defaults import (
    MINIMUM_CHARACTERS,
    MINIMUM_DOCUMENTS,
    PASSAGE_CHARACTERS,
    PASSAGE_DOCUMENTS,
    PASSAGE_SHARE,
    VALIDATION_SHARE,
)
from medpipe.curate.licences import LicencePurpose, gate
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.purposes import Purpose, kept_parts
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.lake.parquet import scan_parts
from medpipe.normalize.assets import normalized_key
from medpipe.records.kinds import Split, content_columns, record_columns

if TYPE_CHECKING:
    from medpipe.curate.config import CurateConfig

DOCUMENTS_KEY = dg.AssetKey(["corpus", "documents"])
NO_DUPLICATES = "no_exact_duplicates"
LICENCES = "licences_allow_the_purpose"
BOTH_SPLITS = "both_splits"


class CorpusConfig(Rebuild):
    """What a person may change of curation."""

    validation_share: float = Field(default=VALIDATION_SHARE)
    """Share of documents held out, chosen by key."""
    minimum_documents: int = Field(default=MINIMUM_DOCUMENTS)
    """A domain with this many records has at least one held-out record."""
    minimum_characters: int = Field(default=MINIMUM_CHARACTERS)
    """Shorter texts are rejected; characters other than spaces."""
    filters: dict[str, Any] = Field(default={})
    """Changes to filters, by rule: `off`, `tier` (it rejects nothing), a number (another limit to drop), or
    by language a number or `{drop: …, refine: …}`; by group of rules: `off`. The card lists all rules."""
    bad_words: list[str] = Field(default=[])
    """Texts with one of these are rejected."""
    near_duplicates: bool = Field(default=True)
    """Whether only the best of near-duplicates stays."""
    similarity: float = Field(default=NearDuplicateConfig().similarity)
    """Texts that share so much of their n-grams (Jaccard) are near-duplicates."""
    contamination: bool = Field(default=True)
    """Whether texts that repeat exam items are left out."""
    exam_characters: int = Field(default=ContaminationConfig().characters)
    """A Chinese text repeats an item if it shares so many characters in a row with it."""
    exam_words: int = Field(default=ContaminationConfig().words)
    """Any other text, if it shares so many words in a row."""
    privacy: bool = Field(default=True)
    """Whether personal data is replaced."""
    privacy_rules: list[str] = Field(default=[])
    """Versioned names of the privacy rules to apply; all if empty."""
    repeated_passages: bool = Field(default=False)
    """Whether boilerplate is taken out of documents; the facts of the data set show what it was."""
    passage_characters: int = Field(default=PASSAGE_CHARACTERS)
    """Least number of letters of a line or sentence that is boilerplate."""
    passage_documents: int = Field(default=PASSAGE_DOCUMENTS)
    """It stands in more documents of a source than this,"""
    passage_share: float = Field(default=PASSAGE_SHARE)
    """and in a larger share of them than this."""
    licence_purpose: str = Field(default=LicencePurpose.RESEARCH.value)
    """What the corpus is for: `research` or `commercial`; a source that it does not allow stops the build."""
    allow_licences: list[str] = Field(default=[])
    """Licences, as the catalog states them, that you have cleared for the purpose."""
    accepted_sources: list[str] = Field(default=[])
    """Ids of sources whose terms you have cleared for the purpose."""

    def curation(self) -> "CurateConfig":
        """The settings of the build.

        Raises:
            ValueError: a setting is wrong; says which, and what it may be.
        """
        from medpipe.curate.form import curation_of

        return curation_of(self.model_dump(exclude={"force"}))


def _build_corpus_asset(
    purpose: Purpose, sources: Sequence[Source], *, catalog: Sequence[Source], lake: Lake
) -> dg.AssetsDefinition:
    key = dg.AssetKey(["corpus", purpose.value])
    kind = purpose.kind

    @dg.asset(
        key=key,
        deps=[normalized_key(source) for source in sources],
        description=_DESCRIPTIONS[purpose],
        group_name=CORPUS_GROUP,
        owners=OWNERS,
        kinds={"polars", "parquet"},
        tags={"kind": kind.value},
        metadata={
            "kind of record": kind.value,
            "sources": ", ".join(s.id for s in sources if purpose.takes(s)),
        },
        code_version=CODE_VERSION,
        check_specs=[
            dg.AssetCheckSpec(
                NO_DUPLICATES,
                asset=key,
                blocking=True,
                description="No content key stands twice in the corpus.",
            ),
            dg.AssetCheckSpec(
                LICENCES,
                asset=key,
                blocking=True,
                description="What the corpus is for is allowed by the licence of every source in it.",
            ),
            dg.AssetCheckSpec(
                BOTH_SPLITS,
                asset=key,
                blocking=False,
                description="There are records to train and to validate on.",
            ),
        ],
    )
    def corpus(
        context: dg.AssetExecutionContext, config: CorpusConfig
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        import polars as pl

        from medpipe.curate.card import MARKDOWN
        from medpipe.curate.corpus import build_corpus
        from medpipe.curate.licence_statements import check_statements
        from medpipe.curate.near_duplicates.overlap import OVERLAP, draw_overlap, overlap_matrix
        from medpipe.curate.plots import draw_funnel
        from medpipe.curate.privacy.scrub import scrub

        with plain_failures():
            settings = config.curation()
            stated = settings.licences
            check_statements(stated, [*sources, *catalog])
            allowed = gate(
                [source for source in sources if purpose.takes(source)],
                stated.purpose,
                catalog=catalog,
                config=stated,
            )
            licences = dg.AssetCheckResult(
                check_name=LICENCES,
                passed=allowed.passed,
                description=allowed.message(),
                metadata={
                    "purpose": stated.purpose.value,
                    "warnings": "\n".join(allowed.warnings) or "none",
                },
            )
            if not allowed.passed:
                # Before anything is built: what is downstream reads the current corpus, whoever made it.
                yield licences
                raise dg.Failure(description=allowed.message(), allow_retries=False)
            built = build_corpus(
                purpose,
                {source.id: current(lake, "normalized", source.id) for source in sources},
                {source.id: source for source in sources},
                lake=lake,
                config=settings,
                catalog=catalog,
                force=config.force,
                progress=context.log.info,
            )
        facts = built.dataset.manifest.facts
        schema = record_columns(kind)
        parts = kept_parts(built.dataset)
        records = scan_parts(parts, schema=schema)
        keys = records.select("content_key", "split").collect()
        splits = dict(keys.group_by("split").len().iter_rows())
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(built.dataset.digest),
            metadata={
                **dataset_metadata(built.dataset, reused=built.reused),
                "dagster/column_schema": table_schema(schema),
                "funnel by source": facts_table(
                    [
                        {"source": source, **{k: facts_of[k] for k in ("records", "kept", "rejected")}}
                        for source, facts_of in facts["by_source"].items()
                    ]
                ),
                "funnel": picture(draw_funnel(facts["by_source"]), caption="what became of the records"),
                "overlap": picture(
                    draw_overlap(
                        overlap_matrix(
                            pl.DataFrame(facts["overlap"], schema=OVERLAP),
                            {source: of["records"] for source, of in facts["by_source"].items()},
                        )
                    ),
                    caption="duplicates that sources share, exact and near",
                ),
                "personal data replaced": reasons_table(facts["privacy"]),
                "repeated passages": facts_table(
                    [
                        {"source": source, **passage}
                        for source, facts_of in facts["by_source"].items()
                        for passage in facts_of.get("repeated_passages", {}).get("passages", [])
                    ]
                ),
                "licence purpose": facts["licence_purpose"],
                "data card": dg.MetadataValue.path((built.dataset.path / MARKDOWN).as_posix()),
                "rejected by reason": reasons_table(facts["rejected_by_reason"]),
                "by domain": facts_table(
                    [{"domain": domain, **counts} for domain, counts in facts["by_domain"].items()]
                ),
                "preview": preview(
                    parts,
                    schema=schema,
                    columns=["source", "lang", "domain", "split", *content_columns(kind)],
                    clean=lambda text: str(scrub(pl.Series([text])).texts.item()),
                ),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=NO_DUPLICATES,
                    passed=keys["content_key"].n_unique() == keys.height,
                    metadata={"records": keys.height},
                ),
                licences,
                dg.AssetCheckResult(
                    check_name=BOTH_SPLITS,
                    passed=purpose is Purpose.EXAMS
                    or all(splits.get(split.value, 0) > 0 for split in (Split.TRAIN, Split.VALIDATION)),
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={str(split): count for split, count in splits.items()},
                ),
            ],
        )

    return corpus


_DESCRIPTIONS = {
    Purpose.DOCUMENTS: (
        "The pretraining corpus: documents of all sources and conversations rendered as text, filtered, "
        "without duplicates, near-duplicates and exam items, personal data replaced; what belongs together "
        "stands on one side of the split."
    ),
    Purpose.CONVERSATIONS: (
        "Conversations of all sources for supervised fine-tuning: filtered, without duplicates and exam "
        "items, personal data replaced, split as the documents are."
    ),
    Purpose.EXAMS: (
        "Exam items of all sources that a model is measured with, without exact duplicates, as their "
        "publishers split them; what repeats one of them is kept out of all other data sets."
    ),
    Purpose.PREFERENCES: (
        "Preference pairs of all sources for reward modelling: without duplicates and exam items, personal "
        "data replaced, split as the documents are."
    ),
}


def build_corpus_assets(
    sources: Sequence[Source], *, catalog: Sequence[Source], lake: Lake
) -> list[dg.AssetsDefinition]:
    """One asset for every purpose that an enabled source serves.

    Each reads all normalized sources: what one publisher holds out is held out of every corpus.
    """
    return [
        _build_corpus_asset(purpose, sources, catalog=catalog, lake=lake)
        for purpose in Purpose
        if any(purpose.takes(source) for source in sources)
    ]
