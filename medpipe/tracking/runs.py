"""Runs in MLflow: one parent a curriculum, one nested run a stage, found again on every resume.

MLflow's global active run is never used: every call names the run by its id, so that parallel processes
and threads cannot write into each other's runs.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from medpipe.tracking.facts import CurriculumFacts, DagsterLink, DatasetFacts, StageFacts, flatten
from medpipe.tracking.links import dagster_run_url, git_commit, run_url
from medpipe.tracking.store import (
    EXPERIMENT,
    TrackingError,
    client,
    display_uri,
    experiment_id,
    store_lock,
    talking_to,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from medpipe.settings import Settings

CURRICULUM_TAG = "medpipe.curriculum"
STAGE_TAG = "medpipe.stage_digest"
SEED_TAG = "medpipe.seed"
ORIGIN_TAG = "medpipe.start_from"
"""Begins the names of the tags that say which checkpoint of which run a curriculum goes on from."""
_DESCRIBED_TAG = "medpipe.described"
"""Set last: params, inputs and artifacts of the run are all there."""
_PARENT_TAG = "mlflow.parentRunId"

_MAX_PARAMS = 100
_MAX_PARAM_VALUE = 6000
_MAX_DATASET_DIGEST = 36
_UNSAFE = re.compile(r"[^\w\-. /]")

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class CurriculumRun:
    """The MLflow run of a curriculum."""

    experiment_id: str
    parent_run_id: str


@dataclass(frozen=True, kw_only=True)
class StageRuns(CurriculumRun):
    """The MLflow runs that a stage writes to."""

    stage_run_id: str
    curriculum: str
    """The plan's name."""
    stage: str
    stage_digest: str
    last: bool = False
    """The curriculum ends with this stage."""


def begin_stage(
    settings: Settings,
    *,
    curriculum: CurriculumFacts,
    stage: StageFacts,
    dagster: DagsterLink | None = None,
) -> StageRuns:
    """Finds or creates the runs of a stage and says what they are made of.

    The same curriculum and stage digest always give the same run ids. Params, inputs and the plan are
    logged once; tags that link to Dagster name the newest attempt.

    Raises:
        TrackingError: MLflow cannot be reached. A `SpoolReplay` takes this call as a function and repeats
            it, so that training need not wait.
    """
    mlflow = client(settings)
    experiment = experiment_id(settings)
    attempt = _attempt_tags(settings, dagster)
    made_of = {"tokenizer_digest": curriculum.tokenizer, "corpus_snapshot": curriculum.snapshot}
    with store_lock(settings), talking_to(settings.tracking_uri):
        parent = _find_or_create(mlflow, experiment, curriculum.name, {CURRICULUM_TAG: curriculum.digest})
        origin = _origin(settings, mlflow, parent, curriculum)
        made_of |= {f"start_from.{name}": value for name, value in origin.items()}
        key = {STAGE_TAG: stage.digest, SEED_TAG: str(stage.seed), _PARENT_TAG: parent.info.run_id}
        child = _find_or_create(mlflow, experiment, stage.name, key)
        _describe(
            mlflow,
            parent,
            params={**curriculum.params, **made_of},
            revisions=curriculum.revisions,
            plan=curriculum.plan_yaml,
        )
        _add_datasets(mlflow, parent, stage.datasets)
        _describe(
            mlflow,
            child,
            params={**stage.params, **made_of, "stage_digest": stage.digest, "seed": stage.seed},
            revisions=curriculum.revisions,
        )
        _add_datasets(mlflow, child, stage.datasets)
        _set_tags(mlflow, parent, {f"{ORIGIN_TAG}.{name}": value for name, value in origin.items()})
        for run in (parent, child):
            _set_tags(mlflow, run, attempt)
            if not stage.complete and run.info.status != "RUNNING":
                mlflow.update_run(run.info.run_id, status="RUNNING")
    return StageRuns(
        experiment_id=experiment,
        parent_run_id=parent.info.run_id,
        stage_run_id=child.info.run_id,
        curriculum=curriculum.name,
        stage=stage.name,
        stage_digest=stage.digest,
        last=stage.last,
    )


def finish_stage(
    settings: Settings, runs: StageRuns, *, status: RunStatus = "FINISHED", end_time: float | None = None
) -> None:
    """Ends the stage's run, and the curriculum's with its last stage or with a failure.

    Args:
        settings: the settings.
        runs: what `begin_stage` gave.
        status: how the stage ended.
        end_time: unix time in seconds; now if None.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    mlflow = client(settings)
    ended = [runs.stage_run_id]
    if runs.last or status != "FINISHED":
        ended.append(runs.parent_run_id)
    milliseconds = None if end_time is None else int(end_time * 1000)
    with talking_to(settings.tracking_uri):
        for run_id in ended:
            if mlflow.get_run(run_id).info.status != status:
                mlflow.set_terminated(run_id, status=status, end_time=milliseconds)


def find_curriculum(settings: Settings, digest: str) -> CurriculumRun | None:
    """The run of the curriculum with this digest; None if no stage of it has reached MLflow yet.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    mlflow = client(settings)
    with talking_to(settings.tracking_uri):
        experiment = mlflow.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return None
        found = _find(mlflow, experiment.experiment_id, {CURRICULUM_TAG: digest})
        if found is None:
            return None
        return CurriculumRun(experiment_id=str(experiment.experiment_id), parent_run_id=found.info.run_id)


def log_pictures(settings: Settings, digest: str, pictures: Mapping[str, bytes]) -> None:
    """Puts pictures beside the plan in the artifacts of a curriculum's run, in place of older ones.

    Args:
        settings: the settings.
        digest: the curriculum's digest.
        pictures: file content by file name.

    Raises:
        TrackingError: MLflow cannot be reached, or has no run of this curriculum.
    """
    run = find_curriculum(settings, digest)
    if run is None:
        raise TrackingError(
            f"MLflow at {display_uri(settings.tracking_uri)} has no run of the curriculum {digest}; "
            "materialise a pretrain stage first, it creates the run"
        )
    with tempfile.TemporaryDirectory() as folder, talking_to(settings.tracking_uri):
        for name, content in pictures.items():
            path = Path(folder) / name
            path.write_bytes(content)
            client(settings).log_artifact(run.parent_run_id, str(path), "pictures")


def _origin(
    settings: Settings, mlflow: MlflowClient, parent: Run, curriculum: CurriculumFacts
) -> dict[str, str]:
    """What a curriculum goes on from, with the run of the earlier curriculum where MLflow has it."""
    start = curriculum.start
    if start is None:
        return {}
    origin = {
        "run": start.run,
        "stage": start.stage,
        "checkpoint": start.checkpoint,
        "step": str(start.step),
        "snapshot": start.snapshot,
    }
    experiment = parent.info.experiment_id
    # The stage is also below the curricula that took it over; the oldest is that of the run that trained it.
    trained = _find(mlflow, experiment, {STAGE_TAG: start.stage_digest, SEED_TAG: start.seed})
    earlier = trained.data.tags.get(_PARENT_TAG) if trained is not None else None
    if earlier is None or earlier == parent.info.run_id:
        return origin
    return {**origin, "mlflow_run": earlier, "mlflow_url": run_url(settings, experiment, earlier)}


def _attempt_tags(settings: Settings, dagster: DagsterLink | None) -> dict[str, str]:
    tags = {"mlflow.source.name": "medpipe", "mlflow.source.type": "JOB"}
    if (commit := git_commit()) is not None:
        tags["mlflow.source.git.commit"] = commit
    if dagster is not None:
        tags["dagster/run_id"] = dagster.run_id
        tags["dagster/root_run_id"] = dagster.root_run_id or dagster.run_id
        tags["dagster/asset_key"] = dagster.asset_key
        tags["dagster/url"] = dagster_run_url(settings, dagster.run_id)
        if dagster.partition is not None:
            tags["dagster/partition"] = dagster.partition
    return tags


def _find(mlflow: MlflowClient, experiment: str, key: Mapping[str, str]) -> Run | None:
    condition = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in key.items())
    found = mlflow.search_runs(
        [experiment], filter_string=condition, order_by=["attributes.start_time ASC"], max_results=1
    )
    return found[0] if found else None


def _find_or_create(mlflow: MlflowClient, experiment: str, name: str, key: Mapping[str, str]) -> Run:
    return _find(mlflow, experiment, key) or mlflow.create_run(experiment, run_name=name, tags=dict(key))


def _describe(
    mlflow: MlflowClient,
    run: Run,
    *,
    params: Mapping[str, Any],
    revisions: Mapping[str, str],
    plan: str | None = None,
) -> None:
    from mlflow.entities import Param, RunTag

    if _DESCRIBED_TAG in run.data.tags:
        return
    wanted = {_UNSAFE.sub("_", key): value[:_MAX_PARAM_VALUE] for key, value in flatten(params)}
    wanted |= {f"revision/{source}": revision for source, revision in sorted(revisions.items())}
    # Params never change in MLflow: an attempt that was cut short may have left some of them.
    missing = [Param(key, value) for key, value in wanted.items() if key not in run.data.params]
    for start in range(0, len(missing), _MAX_PARAMS):
        mlflow.log_batch(run.info.run_id, params=missing[start : start + _MAX_PARAMS])
    if plan is not None:
        mlflow.log_text(run.info.run_id, plan, "plan.yaml")
    mlflow.log_batch(run.info.run_id, tags=[RunTag(_DESCRIBED_TAG, "true")])


def _add_datasets(mlflow: MlflowClient, run: Run, datasets: Iterable[DatasetFacts]) -> None:
    """Adds the data sets that the run does not name yet; a curriculum's grow from stage to stage."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    known = {(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs}
    inputs = [
        DatasetInput(
            Dataset(
                name=facts.name,
                digest=facts.digest[:_MAX_DATASET_DIGEST],
                source_type="local",
                source=orjson.dumps({"uri": facts.uri}).decode(),
            ),
            tags=[InputTag("mlflow.data.context", "training"), InputTag("digest", facts.digest)],
        )
        for facts in datasets
        if (facts.name, facts.digest[:_MAX_DATASET_DIGEST]) not in known
    ]
    if inputs:
        mlflow.log_inputs(run.info.run_id, datasets=inputs)


def _set_tags(mlflow: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    changed = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
    if changed:
        mlflow.log_batch(run.info.run_id, tags=changed)
