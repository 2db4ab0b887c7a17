"""MLflow runs that are said to go on although their trainer has ended."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from medpipe.lake.layout import Lake
from medpipe.operate.doctor.finding import Finding
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.pretrain.run_folder import RESULT
from medpipe.settings import Settings
from medpipe.tracking.runs import SEED_TAG, STAGE_TAG
from medpipe.tracking.store import EXPERIMENT, TrackingError, client, display_uri, talking_to

_PARENT_TAG = "mlflow.parentRunId"


def unfinished_runs(settings: Settings, lake: Lake) -> Iterator[Finding]:
    """Runs of stages whose run folder lies in this lake and nobody trains in, and their curricula's.

    To be asked only while no Dagster run is executed: a stage has its run before it has a trainer.
    """
    try:
        mlflow = client(settings)
        with talking_to(settings.tracking_uri):
            experiment = mlflow.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                return
            going_on = mlflow.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    except TrackingError as error:
        yield Finding(
            kind="unreadable",
            thing=f"MLflow at {display_uri(settings.tracking_uri)}",
            problem=str(error),
            fix="start it, then look again; its runs were not looked at",
        )
        return
    dead: dict[str, list[str]] = {}
    for run in going_on:
        tags = run.data.tags
        if STAGE_TAG not in tags or SEED_TAG not in tags:
            continue
        folder = _run_folder(lake, f"{tags[STAGE_TAG]}-{tags[SEED_TAG]}")
        if folder is None or _is_training(folder) or (folder / RESULT).exists():
            continue  # another machine's, at work, or complete: the next click sends the rest
        dead.setdefault(tags.get(_PARENT_TAG, ""), []).append(run.info.run_id)
        yield Finding(
            kind="mlflow run",
            thing=f"{run.info.run_name} {run.info.run_id}",
            problem=f"RUNNING, but nobody trains in {folder.relative_to(lake.root)}",
            fix="mark it as killed; running the stage again goes on with it",
            repair=partial(_kill, settings, run.info.run_id, folder),
        )
    children = [run for run in going_on if STAGE_TAG in run.data.tags]
    for run in going_on:
        below = [each for each in children if each.data.tags.get(_PARENT_TAG) == run.info.run_id]
        if run.info.run_id in dead and len(below) == len(dead[run.info.run_id]):
            yield Finding(
                kind="mlflow run",
                thing=f"{run.info.run_name} {run.info.run_id}",
                problem="RUNNING, but nobody trains any of its stages",
                fix="mark it as killed; running a stage again goes on with it",
                repair=partial(_kill, settings, run.info.run_id, None),
            )


def _run_folder(lake: Lake, name: str) -> Path | None:
    found = sorted((lake.root / "runs").glob(f"*/{name}"))
    return found[0] if found else None


def _is_training(folder: Path) -> bool:
    try:
        with run_lock(folder):
            return False
    except RunLockedError:
        return True


def _kill(settings: Settings, run_id: str, folder: Path | None) -> str | None:
    if folder is not None and _is_training(folder):
        return "somebody trains there again"
    mlflow = client(settings)
    with talking_to(settings.tracking_uri):
        if mlflow.get_run(run_id).info.status == "RUNNING":
            mlflow.set_terminated(run_id, status="KILLED")
    return None
