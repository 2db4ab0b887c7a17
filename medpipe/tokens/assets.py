"""`tokenizer`, `shards/<domain>` and `snapshot`: the corpus as token ids that a trainer maps into memory."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from medpipe.asset_metadata import (
    OWNERS,
    PREVIEW_ROWS,
    REUSED,
    TOKENS_GROUP,
    Mask,
    Rebuild,
    code_link,
    column_lineage,
    dataset_metadata,
    facts_table,
    plain_failures,
    preview_table,
    source_tags,
    table_schema,
)
from medpipe.catalog.source import Source
from medpipe.curate.assets import DOCUMENTS_KEY
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.run_form import RunForm
from medpipe.tokens.asset_config import ShardSettings
from medpipe.tokens.asset_snapshot import SNAPSHOT_KEY, TokenizerOf, build_snapshot_asset
from medpipe.tokens.config import (
    SHARD_CODE_VERSION,
    TOKENIZER_CODE_VERSION,
    TokenizerConfig,
)

__all__ = [
    "ROUND_TRIP",
    "SHARDS_VERIFIED",
    "SNAPSHOT_KEY",
    "TOKENIZER_KEY",
    "build_token_assets",
    "shards_key",
]

TOKENIZER_KEY = dg.AssetKey(["tokenizer"])
ROUND_TRIP = "round_trip"
SHARDS_VERIFIED = "shards_verified"


def shards_key(domain: Domain) -> dg.AssetKey:
    """Key of a domain's shards."""
    return dg.AssetKey(["shards", domain.value])


def _build_tokenizer_asset(
    sources: Sequence[Source], tokenizer_config: TokenizerConfig, tokenizer_of: TokenizerOf, *, lake: Lake
) -> dg.AssetsDefinition:
    @dg.asset(
        key=TOKENIZER_KEY,
        deps=[DOCUMENTS_KEY],
        description=(
            f"Byte-level BPE of {tokenizer_config.vocabulary_size:,} entries, trained once on a sample of "
            "the training documents, stratified by domain, and then pinned: a refresh never changes it."
            if tokenizer_config.file is None
            else f"The published tokenizer {tokenizer_config.file.name}, pinned by its content."
        ),
        group_name=TOKENS_GROUP,
        owners=OWNERS,
        kinds={"tokenizers"},
        tags=source_tags(sources),
        metadata={
            **code_link(_build_tokenizer_asset),
            **({"vocabulary": tokenizer_config.vocabulary_size} if tokenizer_config.file is None else {}),
            "special tokens": ", ".join(tokenizer_config.special_tokens),
        },
        code_version=TOKENIZER_CODE_VERSION,
        check_specs=[
            dg.AssetCheckSpec(
                ROUND_TRIP,
                asset=TOKENIZER_KEY,
                blocking=True,
                description="Decoding gives back every validation text.",
            )
        ],
    )
    def tokenizer(context: dg.AssetExecutionContext, config: Rebuild, form: RunForm) -> dg.MaterializeResult:
        from medpipe.tokens.preview import cut_sentences
        from medpipe.tokens.report import report_markdown
        from medpipe.tokens.tokenizer import load_tokenizer, train_tokenizer

        with plain_failures():
            chosen = tokenizer_of(form)
            built = train_tokenizer(
                current(lake, "corpus", "documents"),
                lake=lake,
                config=chosen,
                force=config.force,
                progress=context.log.info,
            )
        facts = built.dataset.manifest.facts
        report = facts["report"]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.dataset.digest),
            metadata={
                **dataset_metadata(built.dataset, reused=built.reused),
                # Its rows are the entries of the vocabulary.
                "dagster/row_count": facts["vocabulary_size"],
                "tokenizer": chosen.name,
                "vocabulary": facts["vocabulary_size"],
                "preview": facts_table(cut_sentences(load_tokenizer(built.dataset))),
                "compression by domain": facts_table(
                    [{"domain": domain, **numbers} for domain, numbers in report["by_domain"].items()]
                ),
                **({"report": dg.MetadataValue.md(report_markdown(report))} if "all" in report else {}),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=ROUND_TRIP,
                    passed=report["round_trip_failures"] == 0 or chosen.may_lose,
                    description=_round_trip(report),
                    metadata={
                        "texts": report["round_trip_texts"],
                        "failures": report["round_trip_failures"],
                        "failures are allowed": chosen.may_lose,
                    },
                )
            ],
        )

    return tokenizer


def _round_trip(report: dict[str, Any]) -> str | None:
    """What to do where texts do not come back."""
    if not report["round_trip_failures"]:
        return None
    return (
        f"{report['round_trip_failures']:,} of {report['round_trip_texts']:,} texts are not given back "
        "exactly; name another file under `tokenizer` in the plan, or allow it there with `allow_lossy: true`"
    )


def _build_shards_asset(
    domain: Domain,
    sources: Sequence[Source],
    tokenizer_config: TokenizerConfig,
    tokenizer_of: TokenizerOf,
    *,
    lake: Lake,
    mask: Mask,
) -> dg.AssetsDefinition:
    key = shards_key(domain)

    @dg.asset(
        key=key,
        deps=[DOCUMENTS_KEY, TOKENIZER_KEY],
        description=(
            f"All documents of the domain '{domain.value}' as token ids, one data set a source: `.bin` with "
            "`<eos>` after each document, `.idx` as Megatron-LM reads it, document index and token Parquet."
        ),
        group_name=TOKENS_GROUP,
        owners=OWNERS,
        kinds={"numpy", "parquet"},
        tags=_tags_of_domain(domain, sources),
        metadata={"tokenizer": tokenizer_config.name, **code_link(_build_shards_asset)},
        code_version=SHARD_CODE_VERSION,
        check_specs=[
            dg.AssetCheckSpec(
                SHARDS_VERIFIED,
                asset=key,
                blocking=True,
                description=(
                    "Every byte read again, of reused shards too: checksums, index and ids agree with the "
                    "manifest and the vocabulary."
                ),
            )
        ],
    )
    def shards(
        context: dg.AssetExecutionContext, config: ShardSettings, form: RunForm
    ) -> dg.MaterializeResult:
        from medpipe.tokens.preview import first_documents
        from medpipe.tokens.shard import verify_shard
        from medpipe.tokens.shards import build_shards
        from medpipe.tokens.tokenizer import load_tokenizer
        from medpipe.tokens.writer import DOCUMENT_INDEX_NOTES, DOCUMENT_INDEX_SCHEMA

        with plain_failures():
            tokenizer = current(lake, "tokenizer", tokenizer_of(form).name)
            built = build_shards(
                domain,
                current(lake, "corpus", "documents"),
                tokenizer,
                lake=lake,
                config=config.cuts(),
                force=config.force,
                progress=context.log.info,
            )
            for result in built.values():
                verify_shard(result.dataset.fetched().path)
        datasets = [result.dataset for result in built.values()]
        rows = [
            {"source": source, **{k: shard[k] for k in ("split", "tier", "documents", "tokens")}}
            for source, result in built.items()
            for shard in result.dataset.manifest.facts["shards"]
        ]
        tokens = sum(row["tokens"] for row in rows)
        return dg.MaterializeResult(
            data_version=dg.DataVersion("+".join(sorted(dataset.digest for dataset in datasets)) or "empty"),
            metadata={
                "dagster/row_count": sum(row["documents"] for row in rows),
                "dagster/uri": lake.room("shards", domain.value).as_posix(),
                "dagster/column_schema": table_schema(DOCUMENT_INDEX_SCHEMA, DOCUMENT_INDEX_NOTES),
                "dagster/column_lineage": column_lineage(
                    {
                        name: [(DOCUMENTS_KEY, name if name in ("id", "lang") else "text")]
                        for name in DOCUMENT_INDEX_SCHEMA.names()
                    }
                ),
                "tokens": tokens,
                "bytes": sum(dataset.manifest.bytes for dataset in datasets),
                "preview": preview_table(
                    first_documents(datasets, load_tokenizer(tokenizer), most=PREVIEW_ROWS), mask=mask
                ),
                "by source": facts_table(rows),
                REUSED: all(result.reused for result in built.values()),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=SHARDS_VERIFIED,
                    passed=tokens > 0,
                    description=None
                    if tokens
                    else f"no document of the domain '{domain.value}' is in the corpus; see 'rejected by "
                    "reason' of corpus/documents, or disable the sources that should have had some",
                    metadata={
                        "shards": len(rows),
                        "tokens": tokens,
                        "bytes read": sum(dataset.manifest.bytes for dataset in datasets),
                    },
                )
            ],
        )

    return shards


def _tags_of_domain(domain: Domain, sources: Sequence[Source]) -> dict[str, str]:
    """The tags of the sources that have texts of a domain, and of the domains that one alone."""
    tags = source_tags(source for source in sources if domain in source.domains)
    return {tag: "" for tag in tags if not tag.startswith("domain/")} | {f"domain/{domain.value}": ""}


def build_token_assets(
    sources: Sequence[Source],
    *,
    tokenizer: TokenizerConfig,
    lake: Lake,
    tokenizer_of: TokenizerOf | None = None,
    mask: Mask = list,
) -> list[dg.AssetsDefinition]:
    """Tokenizer, one asset a domain that an enabled source has, and the snapshot.

    Args:
        sources: the enabled sources.
        tokenizer: that of the installation's plan.
        lake: the lake.
        tokenizer_of: that of the plan which a run's form chooses; always the installation's if unset.
        mask: takes personal data out of what previews show.
    """
    chosen: TokenizerOf = tokenizer_of or (lambda _: tokenizer)
    feeding = [source for source in sources if source.feeds_pretraining]
    domains = [domain for domain in Domain if any(domain in source.domains for source in feeding)]
    if not domains:
        return []
    return [
        _build_tokenizer_asset(feeding, tokenizer, chosen, lake=lake),
        *(
            _build_shards_asset(domain, feeding, tokenizer, chosen, lake=lake, mask=mask)
            for domain in domains
        ),
        build_snapshot_asset(
            feeding,
            domains,
            chosen,
            made_of=[TOKENIZER_KEY, *(shards_key(domain) for domain in domains)],
            lake=lake,
        ),
    ]
