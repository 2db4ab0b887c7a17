"""`pretrain/<stage>`: the four stages, each trained in a process of its own and followed into MLflow."""

import contextlib
import math
import re
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from medpipe.asset_metadata import OWNERS, PRETRAIN_GROUP, REUSED, facts_table, plain_failures
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import has_all_files, read_manifest
from medpipe.pretrain import CODE_VERSION
from medpipe.pretrain.plan import Plan, StagePlan
from medpipe.settings import Settings
from medpipe.tokens.assets import SNAPSHOT_KEY
from medpipe.tracking.links import compare_url, run_url

if TYPE_CHECKING:
    from medpipe.pretrain.curriculum import FinishedStage
    from medpipe.pretrain.tracked import TrackedStage
    from medpipe.tracking.replay import SpoolReplay
    from medpipe.tracking.spool import Event

GPU_POOL = "gpu"
FINITE_LOSS = "finite_loss"
CHECKPOINT_WHOLE = "checkpoint_whole"
_TAKE_OVER_SECONDS = 120.0

_OBSERVED = {
    "loss": "train/loss",
    "learning rate": "train/learning_rate",
    "tokens per second": "train/tokens_per_second",
}
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


def _links(settings: Settings, replay: "SpoolReplay") -> dict[str, Any]:
    if replay.runs is None:
        return {"mlflow": f"not reached: {replay.last_error}"}
    runs = replay.runs
    return {
        "mlflow run": dg.MetadataValue.url(run_url(settings, runs.experiment_id, runs.stage_run_id)),
        "mlflow curriculum": dg.MetadataValue.url(run_url(settings, runs.experiment_id, runs.parent_run_id)),
        "mlflow comparison": dg.MetadataValue.url(compare_url(settings, runs.experiment_id)),
    }


def _metadata(finished: "FinishedStage") -> dict[str, Any]:
    result = finished.result
    bits = [{"domain": domain, "bits per byte": value} for domain, value in result.bits_per_byte.items()]
    seen = [{"source": source, "tokens": tokens} for source, tokens in result.tokens_by_source.items()]
    return {
        "dagster/uri": finished.checkpoint.as_posix(),
        "steps": result.steps,
        "tokens": result.tokens,
        "loss at start": result.loss_first,
        "loss at end": result.loss_last,
        "bits per byte": result.bits_per_byte["all"],
        "bits per byte by domain": facts_table(bits),
        "tokens by source": facts_table(seen),
        "training seconds": result.seconds,
        "parameters": result.parameters,
        "device": f"{result.device}, {result.precision}, {result.threads} threads",
        **({"sample": dg.MetadataValue.md(result.sample)} if result.sample else {}),
    }


def _origin(tracked: "TrackedStage") -> dict[str, Any]:
    """The earlier run that a stage was taken over from or goes on from; nothing for other stages."""
    compiled, start = tracked.compiled, tracked.compiled.start
    corpus = {"corpus snapshot": compiled.snapshot}
    taken_from = compiled.stage(tracked.stage).taken_from
    if taken_from is not None:
        return {"taken over from": taken_from}
    if start is None or start.at != tracked.stage or start.run is None:
        return corpus
    facts = {
        "run": start.run,
        "checkpoint": start.folder.name,
        "digest": start.content,
        "learning rate": start.rate,
        "its corpus snapshot": start.snapshot,
    }
    return {"goes on from": facts_table([facts]), **corpus}


def _build_stage_asset(
    stage: StagePlan, parent: dg.AssetKey, *, settings: Settings, lake: Lake, gpus: int
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
        metadata={
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
    def train(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        from medpipe.pretrain.tracked import track_stage
        from medpipe.tracking.facts import DagsterLink

        link = DagsterLink(
            run_id=context.run.run_id,
            asset_key=key.to_user_string(),
            root_run_id=context.run.tags.get("dagster/root_run_id"),
        )
        with plain_failures():
            tracked = track_stage(stage.name, settings=settings, lake=lake, dagster=link)
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
        return dg.MaterializeResult(
            data_version=dg.DataVersion(manifest.digest),
            metadata={
                **_metadata(finished),
                **_origin(tracked),
                **_links(settings, replay),
                REUSED: tracked.complete,
            },
            check_results=[
                dg.AssetCheckResult(check_name=FINITE_LOSS, passed=result.is_finite),
                dg.AssetCheckResult(
                    check_name=CHECKPOINT_WHOLE,
                    passed=has_all_files(finished.checkpoint),
                    metadata={"files": len(manifest.files), "bytes": manifest.bytes},
                ),
            ],
        )

    return train


@contextlib.contextmanager
def _live_curve(context: dg.AssetExecutionContext, tracked: "TrackedStage") -> Iterator[None]:
    """Draws the asset's plots while its stage trains: an observation every ten seconds."""
    from medpipe.pretrain.live_curve import LiveCurve
    from medpipe.pretrain.result import SPOOL

    key = stage_key(tracked.stage)

    def show(point: "Event") -> None:
        named = {name: point.values.get(metric, math.nan) for name, metric in _OBSERVED.items()}
        known = {name: value for name, value in named.items() if math.isfinite(value)}
        context.log_event(
            dg.AssetObservation(key, metadata={"step": point.step, "tokens": point.tokens, **known})
        )

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
    from medpipe.pretrain.guard import end_with_the_run, wait_for_lock
    from medpipe.pretrain.launch import trainer_environment

    end_with_the_run()
    if is_retry and not wait_for_lock(tracked.folder, seconds=_TAKE_OVER_SECONDS):
        context.log.warning("the trainer of the run before is still there; it may have to be stopped by hand")
    # Polars' SIGINT handler restarts system calls; a cancelled run would wait for the trainer's end.
    signal.siginterrupt(signal.SIGINT, True)
    try:
        pipes.run(context=context, command=tracked.command, env=trainer_environment())
    except DagsterPipesExecutionError as error:
        context.log.error(f"{tracked.stage}: {error}")
        code = re.search(r"code (-?\d+)", str(error))
        tracked.finished(int(code[1]) if code else None)


def build_stage_assets(plan: Plan, *, settings: Settings, lake: Lake) -> list[dg.AssetsDefinition]:
    """The four chained stages of one plan."""
    parents = [SNAPSHOT_KEY, *(stage_key(stage.name) for stage in plan.stages[:-1])]
    return [
        _build_stage_asset(stage, parent, settings=settings, lake=lake, gpus=plan.devices.processes)
        for stage, parent in zip(plan.stages, parents, strict=True)
    ]
