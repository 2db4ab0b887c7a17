"""Which runs count as a refresh at work."""

from __future__ import annotations

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData

from medpipe.asset_metadata import PRETRAIN_GROUP, TOKENS_GROUP
from medpipe.refresh.jobs import refresh_at_work
from medpipe.tokens.asset_snapshot import SNAPSHOT_KEY


@dg.asset(key=SNAPSHOT_KEY, group_name=TOKENS_GROUP)
def snapshot() -> None:
    """Ends the data of a run."""


@dg.asset(deps=[SNAPSHOT_KEY], group_name=PRETRAIN_GROUP)
def trained() -> None:
    """Takes days."""


def test_a_run_that_only_trains_by_now_keeps_no_refresh_waiting() -> None:
    definitions = dg.Definitions(
        assets=[snapshot, trained], jobs=[dg.define_asset_job("full_pipeline"), dg.define_asset_job("verify")]
    )
    graph = definitions.resolve_asset_graph()
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("full_pipeline")
        assert dg.materialize([snapshot], instance=instance).success
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert refresh_at_work(instance, graph) == run.run_id
        made = DagsterEvent(
            event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
            job_name=run.job_name,
            event_specific_data=StepMaterializationData(dg.AssetMaterialization(SNAPSHOT_KEY)),
        )
        instance.report_dagster_event(made, run_id=run.run_id)
        assert refresh_at_work(instance, graph) is None
