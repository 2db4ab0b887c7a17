"""The registry of models: versions of one registered model a plan, the best one under an alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medpipe.lake.digest import sha256_file
from medpipe.tracking import checkpoints
from medpipe.tracking.links import model_name, registry_url
from medpipe.tracking.runs import STAGE_TAG, find_curriculum
from medpipe.tracking.store import TrackingError, client, display_uri, talking_to

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from medpipe.settings import Settings

BEST = "best"
"""Alias of the version to use."""
MODEL_TAG = "medpipe.model"
"""Id of the LoggedModel that a version is a copy of."""
DESCRIPTION = (
    "Checkpoints of one medpipe plan with the fewest bits per byte on held-out text; the alias `best` names "
    "the version to use."
)


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: str
    tags: Mapping[str, str]
    is_best: bool
    """It bears the alias `best`."""

    @property
    def checkpoint(self) -> str | None:
        """Digest of its checkpoint; None of a version that somebody else registered."""
        return self.tags.get(checkpoints.CHECKPOINT_TAG)


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """What a checkpoint is registered with."""

    folder: Path
    name: str
    """What people call it, such as `converge`."""
    stage: str
    step: int
    tokens: int
    stage_digest: str
    curriculum_digest: str
    tags: Mapping[str, str]
    """Whatever else is to stand at the version."""


def version_url(settings: Settings, version: RegisteredVersion) -> str:
    """Page of a version in MLflow."""
    return registry_url(settings, version.name, version.version)


def find_best(settings: Settings, name: str) -> RegisteredVersion | None:
    """The version that bears the alias `best`; None where there is none.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    mlflow = client(settings)
    with talking_to(settings.tracking_uri):
        aliases = _aliases(mlflow, name)
        if BEST not in aliases:
            return None
        return _version(mlflow.get_model_version(name, aliases[BEST]), aliases)


def _aliases(mlflow: MlflowClient, name: str) -> dict[str, str]:
    """Version by alias; empty where the model is not registered."""
    from mlflow.exceptions import MlflowException

    try:
        model = mlflow.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: str(version) for alias, version in model.aliases.items()}


def _version(found: ModelVersion, aliases: Mapping[str, str]) -> RegisteredVersion:
    version = str(found.version)
    return RegisteredVersion(
        name=found.name, version=version, tags=dict(found.tags), is_best=aliases.get(BEST) == version
    )


def register(settings: Settings, name: str, facts: CheckpointFacts) -> tuple[RegisteredVersion, bool]:
    """Registers a checkpoint as a new version and moves the alias `best` to it.

    A checkpoint that is a version already does not become another one: its tags are brought up to date and
    the alias moves to it. A call that was cut short can be repeated.

    Returns:
        The version, and whether it is new.

    Raises:
        TrackingError: MLflow cannot be reached, or has no run of the curriculum.
        OSError: a file of the checkpoint is missing.
    """
    digest = checkpoints.checkpoint_digest(facts.folder)
    weights = sha256_file(facts.folder / checkpoints.WEIGHTS)
    run = find_curriculum(settings, facts.curriculum_digest)
    if run is None:
        raise TrackingError(
            f"MLflow at {display_uri(settings.tracking_uri)} has no run of the curriculum "
            f"{facts.curriculum_digest}; materialise pretrain/{facts.stage} again, it creates the run"
        )
    mlflow = client(settings)
    with talking_to(settings.tracking_uri):
        _ensure_registered_model(mlflow, name)
        known = mlflow.search_model_versions(
            f"name = '{name}' and tags.`{checkpoints.CHECKPOINT_TAG}` = '{digest}'"
        )
        if known:
            found = max(known, key=lambda each: int(each.version))
        else:
            model = _logged_model(mlflow, run.experiment_id, run.parent_run_id, facts, digest, weights)
            found = mlflow.create_model_version(
                name,
                source=model.artifact_location,
                run_id=model.source_run_id or run.parent_run_id,
                model_id=model.model_id,
                tags={checkpoints.CHECKPOINT_TAG: digest, MODEL_TAG: model.model_id},
            )
        tags = {STAGE_TAG: facts.stage_digest, "stage": facts.stage, "step": str(facts.step), **facts.tags}
        for key, value in tags.items():
            if found.tags.get(key) != value:
                mlflow.set_model_version_tag(name, found.version, key, value)
        if _aliases(mlflow, name).get(BEST) != str(found.version):
            mlflow.set_registered_model_alias(name, BEST, str(found.version))
        current = mlflow.get_model_version(name, str(found.version))
        return _version(current, _aliases(mlflow, name)), not known


def _ensure_registered_model(mlflow: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(name, description=DESCRIPTION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _logged_model(
    mlflow: MlflowClient, experiment: str, run_id: str, facts: CheckpointFacts, digest: str, weights: str
) -> Any:
    """The checkpoint as a LoggedModel with its files; the replay has usually made it already."""
    found = mlflow.search_logged_models(
        [experiment], filter_string=f"tags.`{checkpoints.CHECKPOINT_TAG}` = '{digest}'", max_results=1
    )
    if found:
        model = found[0]
    else:
        model = mlflow.create_logged_model(
            experiment,
            name=model_name(facts.name, f"{facts.step:08d}"),
            source_run_id=run_id,
            model_type="checkpoint",
            params={"step": str(facts.step), "tokens": str(facts.tokens), "stage": facts.stage},
            tags={
                checkpoints.CHECKPOINT_TAG: digest,
                STAGE_TAG: facts.stage_digest,
                "sha256": weights,
                "path": str(facts.folder),
            },
        )
    checkpoints.upload(mlflow, model.model_id, folder=facts.folder)
    return mlflow.get_logged_model(model.model_id)


def download(settings: Settings, version: RegisteredVersion, folder: Path) -> Path:
    """Fetches the files of a version.

    Args:
        settings: the settings.
        version: of the registry.
        folder: they are put into it.

    Returns:
        The folder that holds them.

    Raises:
        TrackingError: MLflow cannot be reached, or does not have them any more.
    """
    mlflow = client(settings)
    with talking_to(settings.tracking_uri):
        from mlflow.artifacts import download_artifacts

        source = mlflow.get_model_version_download_uri(version.name, version.version)
        return Path(
            download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=settings.tracking_uri)
        )
