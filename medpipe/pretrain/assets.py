"""`pretrain/<stage>`: the four stages, each trained in a process of its own and followed into MLflow."""

from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from medpipe.asset_metadata import OWNERS, PRETRAIN_GROUP, REUSED, facts_table, plain_failures
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import read_manifest
from medpipe.pretrain.compile import CODE_VERSION, CompiledPlan
from medpipe.pretrain.curriculum import FinishedStage, compile_pinned, curriculum_digest
from medpipe.pretrain.launch import trainer_command, trainer_environment
from medpipe.pretrain.plan import STAGES, Plan, StagePlan, find_plan, load_plan
from medpipe.pretrain.result import SPOOL, read_result, stage_run_folder, trainer_failure
from medpipe.settings import Settings
from medpipe.tokens.assets import SNAPSHOT_KEY
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tracking.facts import CurriculumFacts, DagsterLink, DatasetFacts, StageFacts
from medpipe.tracking.links import compare_url, run_url
from medpipe.tracking.replay import SpoolReplay
from medpipe.tracking.runs import begin_stage

GPU_POOL = "gpu"
FINITE_LOSS = "finite_loss"
CHECKPOINT_WHOLE = "checkpoint_whole"

_PURPOSE = {
    "fast": "ordinary data, the learning rate warming up to its peak",
    "stable": "refined general data at the peak rate",
    "anneal": "refined medical literature, encyclopedias and consultations with replay, the rate falling",
    "converge": "clinical guidelines and disease documents with replay, the rate going to zero",
}


def stage_key(stage: str) -> dg.AssetKey:
    """Key of a stage's asset."""
    return dg.AssetKey(["pretrain", stage])


def _curriculum_facts(compiled: CompiledPlan, settings: Settings, lake: Lake) -> CurriculumFacts:
    return CurriculumFacts(
        name=compiled.plan.name,
        digest=curriculum_digest(compiled),
        plan_yaml=find_plan(settings.plan).read_text(encoding="utf-8"),
        params=compiled.plan.model_dump(mode="json"),
        tokenizer=compiled.tokenizer.digest,
        snapshot=compiled.snapshot,
        revisions=read_snapshot(lake, compiled.snapshot).revisions,
    )


def _stage_facts(compiled: CompiledPlan, stage: str, lake: Lake, *, complete: bool) -> StageFacts:
    compiled_stage = compiled.stage(stage)
    read = {(shard.domain.value, shard.source, shard.digest) for shard in compiled_stage.shards}
    return StageFacts(
        name=stage,
        digest=compiled_stage.digest,
        seed=compiled.plan.seed,
        last=stage == STAGES[-1],
        complete=complete,
        params=compiled.plan.stage(stage).model_dump(mode="json"),
        datasets=[
            DatasetFacts(
                name=f"shards/{domain}/{source}",
                digest=digest,
                uri=lake.dataset("shards", domain, source, digest=digest).as_uri(),
            )
            for domain, source, digest in sorted(read)
        ],
    )


def _links(settings: Settings, replay: SpoolReplay) -> dict[str, Any]:
    if replay.runs is None:
        return {"mlflow": f"not reached: {replay.last_error}"}
    runs = replay.runs
    return {
        "mlflow run": dg.MetadataValue.url(run_url(settings, runs.experiment_id, runs.stage_run_id)),
        "mlflow curriculum": dg.MetadataValue.url(run_url(settings, runs.experiment_id, runs.parent_run_id)),
        "mlflow comparison": dg.MetadataValue.url(compare_url(settings, runs.experiment_id)),
    }


def _metadata(finished: FinishedStage) -> dict[str, Any]:
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


def _build_stage_asset(
    stage: StagePlan, parent: dg.AssetKey, *, settings: Settings, lake: Lake
) -> dg.AssetsDefinition:
    key = stage_key(stage.name)

    @dg.asset(
        key=key,
        deps=[parent],
        description=(
            f"Stage '{stage.name}' of the curriculum: {_PURPOSE[stage.name]}. Goes on with weights, optimizer "
            "and token count of the stage before, and ends with a checkpoint that is measured and in MLflow."
        ),
        group_name=PRETRAIN_GROUP,
        owners=OWNERS,
        kinds={"pytorch", "mlflow"},
        metadata={
            "planned tokens": stage.tokens,
            "mixture": facts_table(
                [{"from": entry.label, "weight": entry.weight} for entry in stage.mixture]
            ),
            "learning rate": f"{stage.learning_rate.shape} to {stage.learning_rate.to:g} of the peak",
        },
        code_version=CODE_VERSION,
        pool=GPU_POOL,
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
        context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient
    ) -> dg.MaterializeResult:
        with plain_failures():
            compiled = compile_pinned(load_plan(settings.plan), lake, stage=stage.name)
            folder = stage_run_folder(lake, compiled, stage.name)
            complete = read_result(folder) is not None
            for warning in compiled.warnings:
                context.log.warning(warning)
            curriculum = _curriculum_facts(compiled, settings, lake)
            facts = _stage_facts(compiled, stage.name, lake, complete=complete)
        link = DagsterLink(
            run_id=context.run_id,
            asset_key=key.to_user_string(),
            root_run_id=context.run.tags.get("dagster/root_run_id"),
        )
        replay = SpoolReplay(
            settings,
            folder / SPOOL,
            lambda: begin_stage(settings, curriculum=curriculum, stage=facts, dagster=link),
            run_folder=folder,
        )
        with replay.following():
            if not complete:
                _train(context, pipes, compiled, stage.name, settings=settings, lake=lake)
        result = read_result(folder)
        if result is None:
            raise dg.Failure(
                f"the trainer of {stage.name} ended without a result in {folder}", allow_retries=False
            )
        if replay.runs is not None:
            url = run_url(settings, replay.runs.experiment_id, replay.runs.parent_run_id)
            context.instance.add_run_tags(context.run_id, {"mlflow/run": url})
        if replay.last_error is not None:
            context.log.warning(f"{replay.pending} events are not in MLflow yet: {replay.last_error}")
        finished = FinishedStage(result, folder)
        manifest = read_manifest(finished.checkpoint)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(manifest.digest),
            metadata={**_metadata(finished), **_links(settings, replay), REUSED: complete},
            check_results=[
                dg.AssetCheckResult(check_name=FINITE_LOSS, passed=result.is_finite),
                dg.AssetCheckResult(
                    check_name=CHECKPOINT_WHOLE,
                    passed=all((finished.checkpoint / file.path).is_file() for file in manifest.files),
                    metadata={"files": len(manifest.files), "bytes": manifest.bytes},
                ),
            ],
        )

    return train


def _train(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    compiled: CompiledPlan,
    stage: str,
    *,
    settings: Settings,
    lake: Lake,
) -> None:
    command = trainer_command(
        lake=lake.root, plan=find_plan(settings.plan), snapshot=compiled.snapshot, stage=stage
    )
    try:
        pipes.run(context=context, command=command, env=trainer_environment())
    except DagsterPipesExecutionError as error:
        reason = trainer_failure(stage_run_folder(lake, compiled, stage))
        raise dg.Failure(
            f"training of stage {stage} stopped: {reason or error}", allow_retries=False
        ) from error


def build_stage_assets(plan: Plan, *, settings: Settings, lake: Lake) -> list[dg.AssetsDefinition]:
    """The four chained stages of one plan."""
    parents = [SNAPSHOT_KEY, *(stage_key(stage.name) for stage in plan.stages[:-1])]
    return [
        _build_stage_asset(stage, parent, settings=settings, lake=lake)
        for stage, parent in zip(plan.stages, parents, strict=True)
    ]
