"""`snapshot`: the list of digests that make one corpus."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from medpipe.asset_metadata import (
    OWNERS,
    REUSED,
    TOKENS_GROUP,
    code_link,
    facts_table,
    picture,
    plain_failures,
    source_tags,
)
from medpipe.catalog.source import Source
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Domain
from medpipe.run_form import RunForm
from medpipe.tokens.config import TokenizerConfig

if TYPE_CHECKING:
    from medpipe.tokens.snapshot_report import Changes

SNAPSHOT_KEY = dg.AssetKey(["snapshot"])
TokenizerOf = Callable[[RunForm], TokenizerConfig]
"""The tokenizer of the plan that a run chooses."""


def _shown(changes: "Changes | None") -> dict[str, Any]:
    if changes is None:
        return {}
    report = dg.MetadataValue.md(changes.markdown)
    return {
        "changed since": changes.since,
        "changes": facts_table(changes.rows),
        "report of changes": report,
    }


def build_snapshot_asset(
    sources: Sequence[Source],
    domains: Sequence[Domain],
    tokenizer_of: TokenizerOf,
    *,
    made_of: Sequence[dg.AssetKey],
    lake: Lake,
) -> dg.AssetsDefinition:
    """The asset that pins what makes one corpus; its data version is the snapshot's name.

    Args:
        sources: those whose documents are trained on.
        domains: the domains that they have.
        tokenizer_of: the tokenizer of the plan that a run chooses.
        made_of: keys of tokenizer and shards.
        lake: the lake.
    """

    @dg.asset(
        key=SNAPSHOT_KEY,
        deps=list(made_of),
        description=(
            "The list of digests that make one corpus: tokenizer, shards, source revisions. A training run "
            "pins a snapshot, so a later refresh never disturbs it."
        ),
        group_name=TOKENS_GROUP,
        owners=OWNERS,
        kinds={"json"},
        tags=source_tags(sources),
        metadata={
            "sources": ", ".join(source.id for source in sources),
            **code_link(build_snapshot_asset),
        },
        code_version="1",
    )
    def snapshot(context: dg.AssetExecutionContext, form: RunForm) -> dg.MaterializeResult:
        from medpipe.tokens.plots import draw_token_shares
        from medpipe.tokens.snapshot import build_snapshot, current_shards, find_snapshot, revisions_of
        from medpipe.tokens.snapshot_names import snapshot_names
        from medpipe.tokens.snapshot_report import changes_since

        with plain_failures():
            before = find_snapshot(lake)
            documents = current(lake, "corpus", "documents")
            shards = current_shards(lake, domains, documents)
            pinned, reused = build_snapshot(
                lake,
                tokenizer=current(lake, "tokenizer", tokenizer_of(form).name),
                shards=shards,
                documents=documents,
                revisions=revisions_of(documents, lake, (source.id for source in sources)),
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
                "dagster/row_count": sum(dataset.manifest.rows for dataset in shards.values()),
                "tokens": sum(int(row["tokens"]) for row in counts),
                "token shares": picture(
                    draw_token_shares(
                        {(str(row["domain"]), str(row["source"])): int(row["tokens"]) for row in counts}
                    ),
                    caption="tokens by domain and source",
                ),
                "shards": facts_table(counts),
                "revisions": facts_table([{"source": s, "revision": r} for s, r in pinned.revisions.items()]),
                REUSED: reused,
            },
        )

    return snapshot
