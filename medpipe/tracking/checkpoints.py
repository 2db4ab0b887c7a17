"""A trainer's checkpoint as a LoggedModel of MLflow: weights and what is needed to load them.

The optimizer stays in the run folder: it is twice the size of the weights and only resuming needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from medpipe.lake.digest import sha256_file
from medpipe.tracking.links import model_name
from medpipe.tracking.runs import STAGE_TAG, StageRuns

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    from medpipe.tracking.spool import Event

CHECKPOINT_TAG = "medpipe.checkpoint"
WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"
ARTIFACTS = (WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json", MANIFEST)


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint's folder is there with its weights and its manifest."""
    return (folder / WEIGHTS).is_file() and (folder / MANIFEST).is_file()


def checkpoint_digest(folder: Path) -> str:
    """Digest that identifies a checkpoint: its manifest's, or that of the manifest's bytes.

    Raises:
        OSError: the checkpoint has no manifest.
    """
    manifest = orjson.loads((folder / MANIFEST).read_bytes())
    digest = manifest.get("digest") if isinstance(manifest, dict) else None
    return digest if isinstance(digest, str) else sha256_file(folder / MANIFEST)


def open_model(mlflow: MlflowClient, runs: StageRuns, event: Event, *, folder: Path) -> LoggedModel:
    """Finds the LoggedModel of a checkpoint or creates it, still without artifacts.

    A stage that several curricula share keeps one copy of its checkpoints: the runs of the other
    curricula name the same model as their output.

    Args:
        mlflow: the client.
        runs: runs of the stage.
        event: the checkpoint's line in the spool.
        folder: the checkpoint's folder.

    Raises:
        OSError: the folder is gone.
        mlflow.exceptions.MlflowException: MLflow refuses or cannot be reached.
    """
    digest = checkpoint_digest(folder)
    found = mlflow.search_logged_models(
        [runs.experiment_id], filter_string=f"tags.`{CHECKPOINT_TAG}` = '{digest}'", max_results=1
    )
    model = found[0] if found else None
    if model is None:
        model = mlflow.create_logged_model(
            runs.experiment_id,
            name=model_name(runs.curriculum, event.name or f"{runs.stage}-{event.step:08d}"),
            source_run_id=runs.stage_run_id,
            model_type="checkpoint",
            params={"step": str(event.step), "tokens": str(event.tokens), "stage": runs.stage},
            tags={
                CHECKPOINT_TAG: digest,
                STAGE_TAG: runs.stage_digest,
                "sha256": sha256_file(folder / WEIGHTS),
                "path": str(folder),
            },
        )
    _name_as_output(mlflow, runs, model.model_id, step=event.step)
    return model


def _name_as_output(mlflow: MlflowClient, runs: StageRuns, model_id: str, *, step: int) -> None:
    from mlflow.entities import LoggedModelOutput

    for run_id in (runs.stage_run_id, runs.parent_run_id):
        outputs = mlflow.get_run(run_id).outputs
        if outputs is None or all(output.model_id != model_id for output in outputs.model_outputs):
            mlflow.log_outputs(run_id, [LoggedModelOutput(model_id, step)])


def upload(mlflow: MlflowClient, model_id: str, *, folder: Path) -> None:
    """Uploads a checkpoint's files and marks its model ready; does nothing if it is ready already.

    An upload that was cut short starts again from the first file. A checkpoint that the trainer deleted
    meanwhile leaves a model that is marked as failed.

    Raises:
        mlflow.exceptions.MlflowException: MLflow refuses or cannot be reached.
    """
    if str(mlflow.get_logged_model(model_id).status) == "READY":
        return
    if not is_whole(folder):
        mlflow.finalize_logged_model(model_id, "FAILED")
        return
    for name in ARTIFACTS:
        if (folder / name).is_file():
            mlflow.log_model_artifact(model_id, str(folder / name))
    mlflow.finalize_logged_model(model_id, "READY")
