"""`data_is_intact` on `snapshot`: every file of the current corpus read again, when somebody asks for it."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from medpipe.asset_metadata import facts_table, plain_failures
from medpipe.catalog.source import Source
from medpipe.lake.layout import Lake
from medpipe.tokens.assets import SNAPSHOT_KEY

DATA_INTACT = dg.AssetCheckKey(SNAPSHOT_KEY, "data_is_intact")


def build_data_check(sources: Sequence[Source], *, lake: Lake) -> dg.AssetChecksDefinition:
    """The check of the sources' files, the corpora, the tokenizer and the shards of the current snapshot."""

    @dg.multi_asset_check(
        name=DATA_INTACT.name,
        specs=[
            dg.AssetCheckSpec(
                DATA_INTACT.name,
                asset=DATA_INTACT.asset_key,
                description=(
                    "Reads every file of the current data sets again, from the sources to the shards of the "
                    "snapshot, and compares the checksums. In the job `verify`, or execute it alone."
                ),
            )
        ],
        can_subset=True,
    )
    def data_is_intact(context: dg.AssetCheckExecutionContext) -> Any:
        from medpipe.tokens.intact import examine_corpus

        if DATA_INTACT.asset_key in context.job_def.asset_layer.selected_asset_keys:
            context.log.info("not executed beside the snapshot itself; execute it alone")
            return
        with plain_failures():
            examined = examine_corpus(lake, [source.id for source in sources], say=context.log.info)
        damaged = [each for each in examined if each.mistakes]
        assets = sorted({each.asset for each in damaged})
        yield dg.AssetCheckResult(
            asset_key=DATA_INTACT.asset_key,
            check_name=DATA_INTACT.name,
            passed=not damaged,
            description=None
            if not damaged
            else f"{damaged[0].asset}: {damaged[0].mistakes[0]}. Make again by force: {', '.join(assets)}",
            metadata={
                "data sets": len(examined),
                "bytes read": sum(each.bytes for each in examined),
                "mistakes": facts_table(
                    [
                        {"asset": each.asset, "digest": each.digest, "mistake": mistake}
                        for each in damaged
                        for mistake in each.mistakes
                    ]
                ),
            },
        )

    return data_is_intact
