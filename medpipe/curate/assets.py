"""`corpus/*`: one corpus of every kind, without duplicates, split into train and validation."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from medpipe.asset_metadata import (
    CORPUS_GROUP,
    OWNERS,
    Rebuild,
    dataset_metadata,
    facts_table,
    plain_failures,
    preview,
    reasons_table,
    table_schema,
)
from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.config import CurateConfig
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.lake.parquet import scan_parts
from medpipe.normalize.assets import normalized_key
from medpipe.records.kinds import Split, content_columns, record_columns

DOCUMENTS_KEY = dg.AssetKey(["corpus", "documents"])
NO_DUPLICATES = "no_exact_duplicates"
BOTH_SPLITS = "both_splits"

_DEFAULTS = CurateConfig()


class CorpusConfig(Rebuild):
    """What a person may change of curation."""

    validation_share: float = Field(default=_DEFAULTS.validation_share, gt=0, lt=0.5)
    """Share of documents held out, chosen by key."""
    minimum_documents: int = Field(default=_DEFAULTS.minimum_documents, ge=2)
    """A domain with this many records has at least one held-out record."""
    minimum_characters: int = Field(default=_DEFAULTS.minimum_characters, ge=1)
    """Shorter texts are rejected; characters other than spaces."""


def _build_corpus_asset(purpose: Purpose, sources: Sequence[Source], *, lake: Lake) -> dg.AssetsDefinition:
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
                BOTH_SPLITS,
                asset=key,
                blocking=False,
                description="There are records to train and to validate on.",
            ),
        ],
    )
    def corpus(context: dg.AssetExecutionContext, config: CorpusConfig) -> dg.MaterializeResult:
        from medpipe.curate.corpus import build_corpus

        with plain_failures():
            built = build_corpus(
                purpose,
                {source.id: current(lake, "normalized", source.id) for source in sources},
                {source.id: source for source in sources},
                lake=lake,
                config=CurateConfig(
                    validation_share=config.validation_share,
                    minimum_documents=config.minimum_documents,
                    minimum_characters=config.minimum_characters,
                ),
                force=config.force,
                progress=context.log.info,
            )
        facts = built.dataset.manifest.facts
        schema = record_columns(kind)
        parts = [path for path in built.dataset.files("*/part-*.parquet") if path.parent.name != "rejected"]
        records = scan_parts(parts, schema=schema)
        keys = records.select("content_key", "split").collect()
        splits = dict(keys.group_by("split").len().iter_rows())
        return dg.MaterializeResult(
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
                "rejected by reason": reasons_table(facts["rejected_by_reason"]),
                "by domain": facts_table(
                    [{"domain": domain, **counts} for domain, counts in facts["by_domain"].items()]
                ),
                "preview": preview(
                    parts,
                    schema=schema,
                    columns=["source", "lang", "domain", "split", *content_columns(kind)],
                ),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=NO_DUPLICATES,
                    passed=keys["content_key"].n_unique() == keys.height,
                    metadata={"records": keys.height},
                ),
                dg.AssetCheckResult(
                    check_name=BOTH_SPLITS,
                    passed=all(splits.get(split.value, 0) > 0 for split in (Split.TRAIN, Split.VALIDATION)),
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={str(split): count for split, count in splits.items()},
                ),
            ],
        )

    return corpus


_DESCRIPTIONS = {
    Purpose.DOCUMENTS: (
        "The pretraining corpus: documents of all sources and conversations rendered as text, exact "
        "duplicates removed across sources by content key, then split by key."
    ),
    Purpose.CONVERSATIONS: (
        "Conversations of all sources for supervised fine-tuning, without exact duplicates, split by key."
    ),
    Purpose.PREFERENCES: (
        "Preference pairs of all sources for reward modelling, without exact duplicates, split by key."
    ),
}


def build_corpus_assets(sources: Sequence[Source], *, lake: Lake) -> list[dg.AssetsDefinition]:
    """One asset for every purpose that an enabled source serves.

    Each reads all normalized sources: what one publisher holds out is held out of every corpus.
    """
    return [
        _build_corpus_asset(purpose, sources, lake=lake)
        for purpose in Purpose
        if any(purpose.takes(source) for source in sources)
    ]
