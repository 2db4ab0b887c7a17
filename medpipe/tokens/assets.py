"""`tokenizer`, `shards/<domain>` and `snapshot`: the corpus as token ids that a trainer maps into memory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from medpipe.asset_metadata import (
    OWNERS,
    REUSED,
    TOKENS_GROUP,
    Rebuild,
    dataset_metadata,
    facts_table,
    plain_failures,
    table_schema,
)
from medpipe.catalog.source import Source
from medpipe.curate.assets import DOCUMENTS_KEY
from medpipe.lake.dataset import current, find_current
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.tokens.config import (
    SHARD_CODE_VERSION,
    TOKENIZER_CODE_VERSION,
    ShardConfig,
    TokenizerConfig,
)

if TYPE_CHECKING:
    from medpipe.tokens.snapshot_report import Changes

TOKENIZER_KEY = dg.AssetKey(["tokenizer"])
SNAPSHOT_KEY = dg.AssetKey(["snapshot"])
ROUND_TRIP = "round_trip"
SHARDS_VERIFIED = "shards_verified"


class ShardSettings(Rebuild):
    """What a person may change of shards; the next build without it is cut by the defaults again."""

    max_tokens_per_shard: int = Field(default=ShardConfig().max_tokens_per_shard)
    """A shard is closed before a document that would exceed it."""
    min_text_bytes: int = Field(default=ShardConfig().min_text_bytes)
    """Shards are also cut where documents themselves say so, once they hold so much text."""

    def cuts(self) -> ShardConfig:
        """The settings of the build.

        Raises:
            ValueError: a setting is wrong; says which, and what it may be.
        """
        return ShardConfig.model_validate(self.model_dump(exclude={"force"}))


def shards_key(domain: Domain) -> dg.AssetKey:
    """Key of a domain's shards."""
    return dg.AssetKey(["shards", domain.value])


def _build_tokenizer_asset(tokenizer_config: TokenizerConfig, *, lake: Lake) -> dg.AssetsDefinition:
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
        metadata={
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
    def tokenizer(context: dg.AssetExecutionContext, config: Rebuild) -> dg.MaterializeResult:
        from medpipe.tokens.report import report_markdown
        from medpipe.tokens.tokenizer import train_tokenizer

        with plain_failures():
            built = train_tokenizer(
                current(lake, "corpus", "documents"),
                lake=lake,
                config=tokenizer_config,
                force=config.force,
                progress=context.log.info,
            )
        facts = built.dataset.manifest.facts
        report = facts["report"]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.dataset.digest),
            metadata={
                **dataset_metadata(built.dataset, reused=built.reused),
                "vocabulary": facts["vocabulary_size"],
                "compression by domain": facts_table(
                    [{"domain": domain, **numbers} for domain, numbers in report["by_domain"].items()]
                ),
                **({"report": dg.MetadataValue.md(report_markdown(report))} if "all" in report else {}),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=ROUND_TRIP,
                    passed=report["round_trip_failures"] == 0 or tokenizer_config.may_lose,
                    metadata={
                        "texts": report["round_trip_texts"],
                        "failures": report["round_trip_failures"],
                        "failures are allowed": tokenizer_config.may_lose,
                    },
                )
            ],
        )

    return tokenizer


def _build_shards_asset(
    domain: Domain, tokenizer_config: TokenizerConfig, *, lake: Lake
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
        tags={f"domain/{domain.value}": ""},
        metadata={"tokenizer": tokenizer_config.name},
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
    def shards(context: dg.AssetExecutionContext, config: ShardSettings) -> dg.MaterializeResult:
        from medpipe.tokens.shard import verify_shard
        from medpipe.tokens.shards import build_shards
        from medpipe.tokens.writer import DOCUMENT_INDEX_SCHEMA

        with plain_failures():
            built = build_shards(
                domain,
                current(lake, "corpus", "documents"),
                current(lake, "tokenizer", tokenizer_config.name),
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
                "dagster/column_schema": table_schema(DOCUMENT_INDEX_SCHEMA),
                "tokens": tokens,
                "bytes": sum(dataset.manifest.bytes for dataset in datasets),
                "by source": facts_table(rows),
                REUSED: all(result.reused for result in built.values()),
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=SHARDS_VERIFIED,
                    passed=tokens > 0,
                    metadata={
                        "shards": len(rows),
                        "tokens": tokens,
                        "bytes read": sum(dataset.manifest.bytes for dataset in datasets),
                    },
                )
            ],
        )

    return shards


def _shown(changes: "Changes | None") -> dict[str, Any]:
    if changes is None:
        return {}
    report = dg.MetadataValue.md(changes.markdown)
    return {
        "changed since": changes.since,
        "changes": facts_table(changes.rows),
        "report of changes": report,
    }


def _build_snapshot_asset(
    sources: Sequence[Source], domains: Sequence[Domain], tokenizer_config: TokenizerConfig, *, lake: Lake
) -> dg.AssetsDefinition:
    @dg.asset(
        key=SNAPSHOT_KEY,
        deps=[TOKENIZER_KEY, *(shards_key(domain) for domain in domains)],
        description=(
            "The list of digests that make one corpus: tokenizer, shards, source revisions. A training run "
            "pins a snapshot, so a later refresh never disturbs it."
        ),
        group_name=TOKENS_GROUP,
        owners=OWNERS,
        kinds={"json"},
        metadata={"sources": ", ".join(source.id for source in sources)},
        code_version="1",
    )
    def snapshot(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from medpipe.tokens.snapshot import build_snapshot, current_shards, find_snapshot
        from medpipe.tokens.snapshot_names import snapshot_names
        from medpipe.tokens.snapshot_report import changes_since

        with plain_failures():
            before = find_snapshot(lake)
            documents = current(lake, "corpus", "documents")
            shards = current_shards(lake, domains, documents)
            raw = {source.id: find_current(lake, "raw", source.id) for source in sources}
            pinned, reused = build_snapshot(
                lake,
                tokenizer=current(lake, "tokenizer", tokenizer_config.name),
                shards=shards,
                documents=documents,
                revisions={name: dataset.digest for name, dataset in raw.items() if dataset is not None},
            )
        counts = [
            {
                "domain": domain,
                "source": source,
                "digest": dataset.digest,
                "tokens": sum(shard["tokens"] for shard in dataset.manifest.facts["shards"]),
            }
            for (domain, source), dataset in sorted(shards.items())
        ]
        return dg.MaterializeResult(
            data_version=dg.DataVersion(pinned.name),
            metadata={
                "dagster/uri": (lake.snapshots / f"{pinned.name}.json").as_posix(),
                "snapshot": pinned.name,
                "called": snapshot_names(lake).get(pinned.name, "—"),
                **_shown(changes_since(before, pinned, lake)),
                "tokens": sum(int(row["tokens"]) for row in counts),
                "shards": facts_table(counts),
                "revisions": facts_table([{"source": s, "revision": r} for s, r in pinned.revisions.items()]),
                REUSED: reused,
            },
        )

    return snapshot


def build_token_assets(
    sources: Sequence[Source], *, tokenizer: TokenizerConfig, lake: Lake
) -> list[dg.AssetsDefinition]:
    """Tokenizer, one asset a domain that an enabled source has, and the snapshot."""
    feeding = [source for source in sources if source.feeds_pretraining]
    domains = [domain for domain in Domain if any(domain in source.domains for source in feeding)]
    if not domains:
        return []
    return [
        _build_tokenizer_asset(tokenizer, lake=lake),
        *(_build_shards_asset(domain, tokenizer, lake=lake) for domain in domains),
        _build_snapshot_asset(feeding, domains, tokenizer, lake=lake),
    ]
