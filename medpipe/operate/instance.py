"""The Dagster instance: one template, for the repository's own `dagster.yaml` and for any other home."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from medpipe.lake.files import write_bytes_atomically
from medpipe.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

_PLACE = "{{ dagster_home }}"


class HomeInUseError(OSError):
    """Another medpipe process is working on the same home."""


def render_instance_config(dagster_home: str) -> str:
    """The text of `dagster.yaml` for storage below `dagster_home`."""
    template = (
        resources.files("medpipe.operate").joinpath("dagster.template.yaml").read_text(encoding="utf-8")
    )
    return template.replace(_PLACE, dagster_home)


def prepare_instance(settings: Settings) -> Path:
    """Writes `<home>/dagster/dagster.yaml`, points DAGSTER_HOME at its folder, and returns the folder.

    Child processes (code servers, run workers) find the instance by that variable.
    """
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    path = home / "dagster.yaml"
    text = render_instance_config(home.as_posix()).encode()
    if not path.exists() or path.read_bytes() != text:
        write_bytes_atomically(path, text)
    os.environ["DAGSTER_HOME"] = home.as_posix()
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of a home, its database created if need be.

    Two processes that create the database at once would race its migrations, so creation is locked.
    """
    import dagster as dg

    home = prepare_instance(settings)
    with (home / ".create.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.from_config(home.as_posix())
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
    with instance:
        yield instance


@contextmanager
def exclusive_home(settings: Settings) -> Iterator[None]:
    """Holds the home for one `medpipe run` or `medpipe demo` at a time.

    Raises:
        HomeInUseError: another one is at work there; nothing of it is touched.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / "medpipe.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise HomeInUseError(
                f"process {lock.read().strip() or 'unknown'} is already running on {settings.home}; "
                "wait for it, stop it, or set MEDPIPE_HOME to another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
