"""The copies of checkpoints in MLflow's own artifact folder: the older ones of finished stages go, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from medpipe.operate.prune.doomed import Doomed, Limits, remove_folder
from medpipe.operate.prune.needed import Begun, Registered, if_there, registered
from medpipe.settings import Settings
from medpipe.tracking.checkpoints import CHECKPOINT_TAG
from medpipe.tracking.store import client, experiment_id, talking_to

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

_MEASURED = "eval/bits_per_byte/all"


def copies(settings: Settings, limits: Limits, models: Registered, begun: Begun) -> list[Doomed]:
    """Copies of finished stages that are neither the last, the best, one of the newest, nor needed.

    Only those that lie in the home's own artifact folder: what a server or a bucket has is its own.

    Args:
        settings: which MLflow.
        limits: what stays although nobody needs it.
        models: of the registry.
        begun: what other curricula begin with.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    mlflow = client(settings)
    with talking_to(settings.tracking_uri):
        found = sorted(_checkpoints(mlflow, experiment_id(settings)), key=_place)
        return [
            _doomed(settings, mlflow, model, folder)
            for run, of_run in groupby(found, key=lambda model: model.source_run_id or "")
            for model in _unneeded(mlflow, run, list(of_run), limits, models, begun)
            if (folder := _own_folder(model, settings)) is not None
            and not any(path.is_relative_to(folder.resolve()) for path in begun.paths)
        ]


def _checkpoints(mlflow: MlflowClient, experiment: str) -> Iterator[LoggedModel]:
    token: str | None = None
    while token != "":
        page = mlflow.search_logged_models(
            [experiment], filter_string=f"tags.`{CHECKPOINT_TAG}` != ''", max_results=50, page_token=token
        )
        yield from page
        token = page.token or ""


def _place(model: LoggedModel) -> tuple[str, int]:
    return model.source_run_id or "", _step(model)


def _step(model: LoggedModel) -> int:
    return int(model.params.get("step", -1))


def _unneeded(
    mlflow: MlflowClient,
    run: str,
    of_run: list[LoggedModel],
    limits: Limits,
    models: Registered,
    begun: Begun,
) -> Iterable[LoggedModel]:
    older = of_run[: -limits.checkpoints]
    # Of a run that was deleted for good nobody knows whether it had ended.
    found = if_there(mlflow.get_run, run) if older else None
    if found is None or found.info.status != "FINISHED":
        return []
    measured = {point.step: point.value for point in mlflow.get_metric_history(run, _MEASURED)}
    best = min(measured, key=lambda step: measured[step], default=None)
    return [model for model in older if _step(model) != best and not _is_needed(model, models, begun)]


def _is_needed(model: LoggedModel, models: Registered, begun: Begun) -> bool:
    is_of = model.tags.get(CHECKPOINT_TAG) in models.checkpoints | begun.digests
    return is_of or any(model.model_id in place for place in models.places)


def _own_folder(model: LoggedModel, settings: Settings) -> Path | None:
    """Where a copy lies below the home; None where it is somebody else's."""
    parts = urlsplit(model.artifact_location)
    if parts.scheme not in ("", "file") or parts.netloc:
        return None
    folder = Path(unquote(parts.path))
    own = (settings.mlflow_home / "artifacts").resolve()
    is_own = folder.resolve().is_relative_to(own) and model.model_id in folder.parts
    return folder if is_own else None


def _doomed(settings: Settings, mlflow: MlflowClient, model: LoggedModel, folder: Path) -> Doomed:
    def remove() -> bool:
        # A version may have been registered since.
        if _is_needed(model, registered(settings), Begun(digests=frozenset(), paths=frozenset())):
            return False
        # The folder first: where this is killed in between, the entry leads the next `prune` here again.
        remove_folder(folder)
        with talking_to(settings.tracking_uri):
            if_there(mlflow.delete_logged_model, model.model_id)
        return True

    return Doomed(
        kind="mlflow copy",
        name=f"{model.name} ({model.model_id})",
        why="of a finished run, neither its last, its best, one of the newest, nor registered",
        paths=(folder,),
        remove=remove,
    )
