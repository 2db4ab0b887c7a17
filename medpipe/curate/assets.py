"""`corpus/*`: one corpus of every kind, without duplicates, split into train and validation."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from medpipe.asset_metadata import (
    CORPUS_GROUP,
    OWNERS,
    code_link,
    column_lineage,
    dataset_metadata,
    facts_table,
    failure,
    picture,
    plain_failures,
    preview,
    reasons_table,
    source_tags,
    table_schema,
)
from medpipe.catalog.source import Source
from medpipe.curate import CODE_VERSION
from medpipe.curate.asset_config import CorpusConfig
from medpipe.curate.licences import gate
from medpipe.curate.purposes import Purpose, kept_parts
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.lake.parquet import scan_parts
from medpipe.normalize.assets import normalized_key
from medpipe.records.kinds import COLUMN_NOTES, Split, content_columns, record_columns
from medpipe.run_form import RunForm

DOCUMENTS_KEY = dg.AssetKey(["corpus", "documents"])
NO_DUPLICATES = "no_exact_duplicates"
LICENCES = "licences_allow_the_purpose"
BOTH_SPLITS = "both_splits"


def _build_corpus_asset(
    purpose: Purpose, sources: Sequence[Source], *, catalog: Sequence[Source], lake: Lake
) -> dg.AssetsDefinition:
    key = dg.AssetKey(["corpus", purpose.value])
    kind = purpose.kind
    feeding = [source for source in sources if purpose.takes(source)]

    @dg.asset(
        key=key,
        deps=[normalized_key(source) for source in sources],
        description=_DESCRIPTIONS[purpose],
        group_name=CORPUS_GROUP,
        owners=OWNERS,
        kinds={"polars", "parquet"},
        tags={"kind": kind.value, **source_tags(feeding)},
        metadata={
            "kind of record": kind.value,
            "sources": ", ".join(source.id for source in feeding),
            "licences": facts_table([_licence_facts(source) for source in feeding]),
            **code_link(_build_corpus_asset),
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
        context: dg.AssetExecutionContext, config: CorpusConfig, form: RunForm
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        import polars as pl

        from medpipe.curate.card import MARKDOWN
        from medpipe.curate.corpus import build_corpus
        from medpipe.curate.licence_statements import check_statements
        from medpipe.curate.near_duplicates.overlap import OVERLAP, draw_overlap, overlap_matrix
        from medpipe.curate.plots import draw_funnel
        from medpipe.curate.privacy.scrub import scrub_texts

        with plain_failures():
            settings = config.curation(form.purpose)
            stated = settings.licences
            check_statements(stated, [*sources, *catalog])
            allowed = gate(
                feeding,
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
                raise failure(allowed.message())
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
        repeated = keys.height - keys["content_key"].n_unique()
        splits = dict(keys.group_by("split").len().iter_rows())
        needed = () if purpose is Purpose.EXAMS else (Split.TRAIN, Split.VALIDATION)
        missing = [split.value for split in needed if not splits.get(split.value)]
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(built.dataset.digest),
            metadata={
                **dataset_metadata(built.dataset, reused=built.reused),
                "dagster/column_schema": table_schema(schema, COLUMN_NOTES),
                "dagster/column_lineage": _lineage(purpose, feeding),
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
                **_lengths(facts),
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
                    mask=scrub_texts,
                ),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=NO_DUPLICATES,
                    passed=not repeated,
                    description=f"{repeated:,} records repeat another's content key; make it again with "
                    "`force`, and report it if that does not help"
                    if repeated
                    else None,
                    metadata={"records": keys.height},
                ),
                licences,
                dg.AssetCheckResult(
                    check_name=BOTH_SPLITS,
                    passed=not missing,
                    description=f"no records of the split {', '.join(missing)}; enable more sources, or "
                    "change `validation_share` in the config of the asset"
                    if missing
                    else None,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={str(split): count for split, count in splits.items()},
                ),
            ],
        )

    return corpus


def _licence_facts(source: Source) -> dict[str, Any]:
    licence = source.licence
    return {"source": source.id, "licence": licence.name or "not stated", "verified": licence.verified}


def _lineage(purpose: Purpose, feeding: Sequence[Source]) -> dg.TableColumnLineage:
    from medpipe.curate.column_origins import column_origins

    origins = {normalized_key(source): column_origins(purpose, source) for source in feeding}
    return column_lineage(
        {
            column: [(key, name) for key, columns in origins.items() for name in columns[column]]
            for column in purpose.schema.names()
        }
    )


def _lengths(facts: dict[str, Any]) -> dict[str, Any]:
    """The picture of the documents' lengths, where every part of the data set has counted them."""
    from medpipe.curate.plots import draw_lengths

    counted = {source: part.get("lengths") for source, part in facts["parts"].items()}
    if not counted or None in counted.values():
        return {}
    return {"lengths": picture(draw_lengths(counted), caption="documents by length")}


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
