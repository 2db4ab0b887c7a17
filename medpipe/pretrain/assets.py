"""`pretrain/<stage>`: the four stages, each trained in a process of its own and followed into MLflow."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from medpipe.asset_metadata import (
    OWNERS,
    PRETRAIN_GROUP,
    REUSED,
    code_link,
    facts_table,
    picture,
    plain_failures,
)
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import has_all_files, read_manifest
from medpipe.pretrain import CODE_VERSION
from medpipe.pretrain.asset_facts import links, metadata, origin, stage_tags
from medpipe.pretrain.configured import chosen_settings
from medpipe.pretrain.plan import Plan, StagePlan
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tokens.assets import SNAPSHOT_KEY
from medpipe.tracking.links import run_url

if TYPE_CHECKING:
    from medpipe.pretrain.tracked import TrackedStage
    from medpipe.tracking.spool import Event

GPU_POOL = "gpu"
FINITE_LOSS = "finite_loss"
CHECKPOINT_WHOLE = "checkpoint_whole"

_PURPOSE = {
    "fast": "ordinary data, the learning rate warming up to its peak",
    "stable": "refined general data at the peak rate",
    "anneal": "refined medical literature, encyclopedias and consultations with replay, the rate falling",
    "converge": "clinical guidelines and disease documents with replay, the rate going to zero",
}


def gpu_tags(count: int) -> dict[str, Any]:
    """Op tags that make a step's pod on Kubernetes ask for so many GPUs; elsewhere they do nothing."""
    limits = {"nvidia.com/gpu": str(count)}
    return {"dagster-k8s/config": {"container_config": {"resources": {"limits": limits}}}}


def stage_key(stage: str) -> dg.AssetKey:
    """Key of a stage's asset."""
    return dg.AssetKey(["pretrain", stage])


def _build_stage_asset(
    plan: Plan,
    stage: StagePlan,
    parent: dg.AssetKey,
    *,
    settings: Settings,
    lake: Lake,
    tags: Mapping[str, str],
    gpus: int,
) -> dg.AssetsDefinition:
    key = stage_key(stage.name)

    @dg.asset(
        key=key,
        deps=[parent],
        description=(
            f"Stage '{stage.name}' of the curriculum: {_PURPOSE[stage.name]}. Goes on with weights, "
            "optimizer and token count of the stage before; its last checkpoint is measured and in MLflow."
        ),
        group_name=PRETRAIN_GROUP,
        owners=OWNERS,
        kinds={"pytorch", "mlflow"},
        tags=stage_tags(plan, stage, tags),
        metadata={
            "plan": plan.name,
            **code_link(_build_stage_asset),
            "planned tokens": stage.tokens,
            "mixture": facts_table(
                [{"from": entry.label, "weight": entry.weight} for entry in stage.mixture]
            ),
            "learning rate": stage.rate_in_words,
        },
        code_version=CODE_VERSION,
        pool=GPU_POOL,
        op_tags=gpu_tags(gpus),
        check_specs=[
            dg.AssetCheckSpec(
                FINITE_LOSS, asset=key, blocking=True, description="Loss and bits per byte are finite."
            ),
            dg.AssetCheckSpec(
                CHECKPOINT_WHOLE,
                asset=key,
                blocking=True,
                description="The checkpoint's files are all there.",
            ),
        ],
    )
    def train(
        context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, form: RunForm
    ) -> dg.MaterializeResult:
        from medpipe.pretrain.plan_plot import draw_plan
        from medpipe.pretrain.tracked import track_stage
        from medpipe.tracking.facts import DagsterLink

        link = DagsterLink(
            run_id=context.run.run_id,
            asset_key=key.to_user_string(),
            root_run_id=context.run.tags.get("dagster/root_run_id"),
        )
        with plain_failures():
            tracked = track_stage(
                stage.name, settings=chosen_settings(form, settings), lake=lake, dagster=link
            )
            for warning in tracked.compiled.warnings:
                context.log.warning(warning)
            with tracked.following():
                if not tracked.complete:
                    with _live_curve(context, tracked):
                        _train(context, pipes, tracked, is_retry=link.root_run_id is not None)
            finished = tracked.finished()
        replay, result = tracked.replay, finished.result
        if replay.runs is not None:
            url = run_url(settings, replay.runs.experiment_id, replay.runs.parent_run_id)
            context.instance.add_run_tags(context.run.run_id, {"mlflow/run": url})
        if replay.last_error is not None:
            context.log.warning(f"{replay.pending} events are not in MLflow yet: {replay.last_error}")
        manifest = read_manifest(finished.checkpoint)
        is_whole = has_all_files(finished.checkpoint)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(manifest.digest),
            metadata={
                **metadata(finished),
                "plan": tracked.compiled.plan.name,
                "mixture": picture(
                    draw_plan(tracked.compiled), caption="learning rate and mixture of each stage"
                ),
                **origin(tracked),
                **links(settings, replay),
                REUSED: tracked.complete,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=FINITE_LOSS,
                    passed=result.is_finite,
                    description=None
                    if result.is_finite
                    else "loss or bits per byte is not finite; lower `optimizer.peak_learning_rate` in the "
                    "plan, or set its `precision` to fp32",
                ),
                dg.AssetCheckResult(
                    check_name=CHECKPOINT_WHOLE,
                    passed=is_whole,
                    description=None
                    if is_whole
                    else f"{finished.checkpoint} lacks files; delete it and materialise the stage again",
                    metadata={"files": len(manifest.files), "bytes": manifest.bytes},
                ),
            ],
        )

    return train


@contextlib.contextmanager
def _live_curve(context: dg.AssetExecutionContext, tracked: "TrackedStage") -> Iterator[None]:
    """Draws the asset's plots while its stage trains: an observation every ten seconds."""
    from medpipe.pretrain.live_curve import LiveCurve, shown_values
    from medpipe.pretrain.result import SPOOL

    def show(point: "Event") -> None:
        observed = shown_values(point)
        context.log_event(dg.AssetObservation(stage_key(tracked.stage), metadata=dict(observed)))

    steps = tracked.compiled.stage(tracked.stage).steps
    with LiveCurve(tracked.folder / SPOOL, show, steps=steps).following() as curve:
        yield
    if curve.error is not None:
        context.log.warning(f"the live curve in Dagster ended early: {curve.error}")


def _train(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    tracked: "TrackedStage",
    *,
    is_retry: bool,
) -> None:
    """Runs the trainer to its end; a trainer that failed is told by `TrackedStage.finished`."""
    from medpipe.pretrain.launch import trainer_environment
    from medpipe.pretrain.step_process import exit_code_in, take_over

    if (warning := take_over(tracked.folder, is_retry=is_retry)) is not None:
        context.log.warning(warning)
    try:
        pipes.run(context=context, command=tracked.command, env=trainer_environment())
    except DagsterPipesExecutionError as error:
        context.log.error(f"{tracked.stage}: {error}")
        tracked.finished(exit_code_in(str(error)))


def build_stage_assets(
    plan: Plan, *, settings: Settings, lake: Lake, tags: Mapping[str, str] | None = None
) -> list[dg.AssetsDefinition]:
    """The four chained stages of one plan.

    Args:
        plan: that of the installation.
        settings: the installation.
        lake: the lake.
        tags: languages and licences of what the corpus is made of.
    """
    parents = [SNAPSHOT_KEY, *(stage_key(stage.name) for stage in plan.stages[:-1])]
    return [
        _build_stage_asset(
            plan,
            stage,
            parent,
            settings=settings,
            lake=lake,
            tags=tags or {},
            gpus=plan.devices.processes,
        )
        for stage, parent in zip(plan.stages, parents, strict=True)
    ]
