"""The MLflow store: opened once, waited for only briefly, named without its password."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from medpipe.tracking.database_lock import database_lock, is_postgres

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from medpipe.settings import Settings

EXPERIMENT = "medpipe"
DESCRIPTION = """\
Curricula of staged pretraining. One row is one curriculum, its metrics run over the global step through
all stages; unfold it for one run a stage. Checkpoints are under *Models*. To compare curricula choose
rows and open the chart view; the x axis can be the step or the metric `train/tokens`."""

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A call to a server that is down otherwise blocks for minutes before it fails.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # Otherwise MLflow warns about a missing git executable on the first import.
    "GIT_PYTHON_REFRESH": "quiet",
}


class TrackingError(RuntimeError):
    """MLflow could not be used; the message names the store (without a password) and the cause."""


def prepare_environment() -> None:
    """Sets MLflow's environment variables where the user set none: no telemetry, short waits."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def display_uri(uri: str) -> str:
    """The URI without user name, password and query, fit for links, logs and errors."""
    parts = urlsplit(uri)
    netloc = parts.netloc.rpartition("@")[2]
    if parts.scheme.startswith("sqlite"):
        return uri.partition("?")[0]
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def redact(text: str, uri: str) -> str:
    """Returns `text` with the credentials of `uri` replaced by `***`."""
    userinfo, _, _ = urlsplit(uri).netloc.rpartition("@")
    password = userinfo.partition(":")[2]
    query = urlsplit(uri).query
    for secret in (userinfo, password, unquote(password), query):
        if secret:
            text = text.replace(secret, "***")
    return text


@contextlib.contextmanager
def talking_to(uri: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns whatever MLflow raises into an error that is safe to show.

    Args:
        uri: the store.
        passing: errors that have nothing to do with MLflow and are let through.

    Raises:
        TrackingError: something in the block failed; the original error is left out on purpose, since
            MLflow writes the whole URI, password included, into its messages.
    """
    through: tuple[type[Exception], ...] = (TrackingError, *passing)
    try:
        yield
    except through:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {redact(str(error), uri)}"
        raise TrackingError(
            f"MLflow at {display_uri(uri)} cannot be used ({cause}); start it, or correct "
            "MLFLOW_TRACKING_URI. Nothing is lost: the metrics stay in the run folder and are sent later"
        ) from None


@contextlib.contextmanager
def store_lock(settings: Settings) -> Iterator[None]:
    """Lets one process of this machine at a time create what is created once: the database, a run."""
    path = _sqlite_path(settings.tracking_uri) or settings.mlflow_home / "store"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sqlite_path(uri: str) -> Path | None:
    scheme, _, rest = uri.partition(":///")
    return Path(rest.partition("?")[0]) if scheme.startswith("sqlite") and rest else None


def ensure_store(settings: Settings) -> None:
    """Creates a database's tables if need be; a server is left to itself.

    Processes that open a fresh database at the same time would race each other's migration.

    Raises:
        TrackingError: the store cannot be created.
    """
    uri = settings.tracking_uri
    if _sqlite_path(uri) is None and not is_postgres(uri):
        return
    with store_lock(settings), talking_to(uri), database_lock(uri):
        _open(settings).search_experiments(max_results=1)


def _open(settings: Settings) -> MlflowClient:
    prepare_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def client(settings: Settings) -> MlflowClient:
    """An MLflow client of the configured store, apart from MLflow's global state.

    Raises:
        TrackingError: a database cannot be reached, or its tables cannot be created.
    """
    ensure_store(settings)
    return _open(settings)


def experiment_id(settings: Settings) -> str:
    """The id of the experiment that all curricula share; created, or restored, if it is not there.

    Its artifacts lie where MLFLOW_DEFAULT_ARTIFACT_ROOT says, or in `<home>/mlflow/artifacts`, except on a
    server, which has a place of its own.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    mlflow = client(settings)
    with store_lock(settings), talking_to(settings.tracking_uri):
        found = mlflow.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return _create_experiment(mlflow, settings)
        if found.lifecycle_stage == "deleted":
            mlflow.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def _create_experiment(mlflow: MlflowClient, settings: Settings) -> str:
    from mlflow.exceptions import MlflowException

    on_server = settings.tracking_uri.startswith(("http://", "https://"))
    root = settings.mlflow_artifact_root or (settings.mlflow_home / "artifacts").as_uri()
    artifacts = None if on_server else root.rstrip("/")
    try:
        created = mlflow.create_experiment(
            EXPERIMENT, artifact_location=artifacts, tags={"mlflow.note.content": DESCRIPTION}
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # Another machine was faster; the lock only holds on this one.
        created = mlflow.get_experiment_by_name(EXPERIMENT).experiment_id
    return str(created)
