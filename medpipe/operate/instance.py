"""The Dagster instance: one template, for the repository's own `dagster.yaml` and for any other home."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from medpipe.lake.files import write_bytes_atomically
from medpipe.settings import Settings, with_driver
from medpipe.tracking.database_lock import database_lock, is_postgres
from medpipe.tracking.store import display_uri, redact

if TYPE_CHECKING:
    import dagster as dg
    from pydantic import SecretStr

_PLACE = "{{ dagster_home }}"
_STORAGE = "{{ storage }}"
_SQLITE = f"  sqlite:\n    base_dir: {_PLACE}"
POSTGRES_VARIABLE = "MEDPIPE_DAGSTER_POSTGRES_URL"
# By the variable's name: the file holds no password, and the UI shows none.
_POSTGRES = f"  postgres:\n    postgres_url:\n      env: {POSTGRES_VARIABLE}"


class HomeInUseError(OSError):
    """Another medpipe process is working on the same home."""


class StorageError(OSError):
    """Dagster's database cannot be used; the message names it without its password, and the fix."""


def render_instance_config(dagster_home: str, *, postgres: bool = False) -> str:
    """The text of `dagster.yaml`.

    Args:
        dagster_home: folder of local artifacts and logs, and of the storage itself where it is SQLite.
        postgres: runs, events and schedules lie in the database that MEDPIPE_DAGSTER_POSTGRES_URL names.
    """
    template = (
        resources.files("medpipe.operate").joinpath("dagster.template.yaml").read_text(encoding="utf-8")
    )
    return template.replace(_STORAGE, _POSTGRES if postgres else _SQLITE).replace(_PLACE, dagster_home)


def prepare_instance(settings: Settings) -> Path:
    """Writes `<home>/dagster/dagster.yaml`, points DAGSTER_HOME at its folder, and returns the folder.

    Child processes (code servers, run workers) find the instance by that variable.

    Raises:
        StorageError: PostgreSQL is asked for and its package is not installed, or the address is none.
    """
    postgres = settings.dagster_postgres_url
    if postgres is not None:
        _require_postgres(postgres.get_secret_value(), mlflow=settings.tracking_uri)
        # Settings may come from elsewhere than the environment; the instance and its children read that.
        os.environ[POSTGRES_VARIABLE] = with_driver(postgres.get_secret_value())
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    path = home / "dagster.yaml"
    text = render_instance_config(home.as_posix(), postgres=postgres is not None).encode()
    if not path.exists() or path.read_bytes() != text:
        write_bytes_atomically(path, text)
    os.environ["DAGSTER_HOME"] = home.as_posix()
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    return home


def _require_postgres(url: str, *, mlflow: str) -> None:
    if not is_postgres(url):
        raise StorageError(
            f"{POSTGRES_VARIABLE} must be postgresql://user:password@host:port/database; SQLite is used "
            "where it is unset"
        )
    if find_spec("dagster_postgres") is None:
        raise StorageError(
            f"{POSTGRES_VARIABLE} is set, but dagster-postgres is not installed: "
            "pip install 'medpipe[postgres]'"
        )
    if is_postgres(mlflow) and _database(url) == _database(mlflow):
        raise StorageError(
            f"{POSTGRES_VARIABLE} and MLFLOW_TRACKING_URI name the same database {display_uri(url)}; both "
            "keep their version in the same table: give each a database of its own"
        )


def _database(url: str) -> tuple[str | None, int, str]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or 5432, parts.path


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of a home, its database created if need be.

    Processes that create the database at once would race its migrations, so creation is locked: among those
    of one home by a file, among those of a PostgreSQL database by the database.

    Raises:
        StorageError: the database cannot be reached.
    """
    import dagster as dg

    home = prepare_instance(settings)
    url = settings.dagster_postgres_url
    with _creating(home), _reaching(url), database_lock(url.get_secret_value() if url else None):
        instance = dg.DagsterInstance.from_config(home.as_posix())
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
    with instance:
        yield instance


@contextmanager
def _creating(home: Path) -> Iterator[None]:
    with (home / ".create.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _reaching(url: SecretStr | None) -> Iterator[None]:
    """Turns whatever a database answers into an error that is safe to show."""
    try:
        yield
    except Exception as error:
        if url is None:
            raise
        address = url.get_secret_value()
        cause = redact(str(error.__cause__ or error).strip().splitlines()[0], address)
        raise StorageError(
            f"Dagster's storage at {display_uri(address)} cannot be used ({cause}); start the server, or "
            f"correct {POSTGRES_VARIABLE}"
        ) from None


@contextmanager
def exclusive_home(settings: Settings) -> Iterator[None]:
    """Holds the home for one `medpipe run` or `medpipe demo` at a time.

    Raises:
        HomeInUseError: another one is at work there; nothing of it is touched.
    """
    with _held(settings.home / "medpipe.lock") as holder:
        if holder is not None:
            raise HomeInUseError(
                f"process {holder} is already running on {settings.home}; wait for it, stop it, or set "
                "MEDPIPE_HOME to another folder"
            )
        yield


@contextmanager
def only_servers(settings: Settings) -> Iterator[None]:
    """Holds the home for one `medpipe dev` or `medpipe serve` at a time.

    A second daemon would start every queued run and every schedule once more. This process holds the home,
    and those that it forks, until the last of them ends.

    Raises:
        HomeInUseError: its servers are running already.
    """
    with _held(settings.home / "servers.lock") as holder:
        if holder is not None:
            raise HomeInUseError(
                f"process {holder} serves {settings.home} already (`medpipe dev` or `medpipe serve`): use "
                f"that one, stop it by `kill {holder}`, or set MEDPIPE_HOME to another folder"
            )
        yield


@contextmanager
def _held(path: Path) -> Iterator[str | None]:
    """Yields None where the lock is ours now, else the id of the process that has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            yield lock.read().strip() or "unknown"
            return
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield None
