"""The job that refreshes run in when no person starts them, and which runs count as a refresh at work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from medpipe.asset_metadata import CORPUS_GROUP, NORMALIZED_GROUP, RAW_GROUP, TOKENS_GROUP
from medpipe.tokens.asset_snapshot import SNAPSHOT_KEY
from medpipe.tokens.checks import DATA_INTACT

DATA_GROUPS = (RAW_GROUP, NORMALIZED_GROUP, CORPUS_GROUP, TOKENS_GROUP)
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

automatic_refresh = dg.define_asset_job(
    "automatic_refresh",
    selection=dg.AssetSelection.groups(*DATA_GROUPS) - dg.AssetSelection.checks(DATA_INTACT),
    description=(
        "What the refresh sensor and the weekly schedule run: from the sources that changed to shards and a "
        "new corpus snapshot. It never trains. A person starts refresh_corpus instead."
    ),
    tags={"medpipe/refresh": "automatic"},
)


def raw_config(source_ids: Iterable[str], **config: Any) -> dict[str, Any]:
    """Run configuration that gives the raw assets of some sources a setting each."""
    return {
        "loggers": {"console": {}},
        "ops": {f"raw__{source_id}": {"config": dict(config)} for source_id in source_ids},
    }


def data_keys(graph: dg.AssetGraph) -> set[dg.AssetKey]:
    """Keys of all assets that a refresh may make."""
    return set(dg.AssetSelection.groups(*DATA_GROUPS).resolve(graph))


def keys_behind(source_ids: Iterable[str], graph: dg.AssetGraph) -> list[dg.AssetKey]:
    """Keys of the raw assets of some sources and of all data that is made of them, sorted."""
    roots = dg.AssetSelection.assets(*(dg.AssetKey(["raw", source_id]) for source_id in source_ids))
    return sorted(set(roots.downstream().resolve(graph)) & data_keys(graph))


def refresh_at_work(instance: dg.DagsterInstance, graph: dg.AssetGraph) -> str | None:
    """Id of a run that has not ended and makes data of the corpus; None if there is none.

    A run that has made its snapshot is through with that: what it trains then may take days.
    """
    data = data_keys(graph)
    whole = {"automatic_refresh", "refresh_corpus", "full_pipeline"}
    newest = instance.get_latest_materialization_event(SNAPSHOT_KEY)
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED)):
        if newest is not None and newest.run_id == run.run_id:
            continue
        if run.asset_selection & data if run.asset_selection else run.job_name in whole:
            return run.run_id
    return None


def reasons(items: Mapping[str, str]) -> str:
    """Names with what is said of each, for a message."""
    return "; ".join(f"{name}: {text}" for name, text in items.items())
