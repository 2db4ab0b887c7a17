"""`medpipe dev`: everything on loopback with one log, until it is asked to stop."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from medpipe.operate.demo import DEMO_PLAN, sample_hub
from medpipe.operate.instance import only_servers, prepare_instance
from medpipe.operate.keeper import Stop, keep_watch
from medpipe.operate.redaction import redaction_of
from medpipe.operate.server_log import ServerLog
from medpipe.operate.servers import (
    Places,
    ServerError,
    ServerSpec,
    is_own_store,
    platform_servers,
    require_free,
)
from medpipe.operate.supervisor import NAME, StoppedError, running
from medpipe.settings import Settings

LOG = "logs/servers.log"
"""Below the home."""
_PREPARE = "from medpipe.operate.dev import prepare; prepare(with_sample={})"


def prepare(*, with_sample: bool) -> None:
    """Creates the databases of Dagster and MLflow where they are not there yet, and the sample corpus.

    Sensors that looked last while the clock stood ahead look again.
    """
    from medpipe.operate.doctor.sensors import sensors_ahead
    from medpipe.operate.instance import open_instance
    from medpipe.sample.generate import generate
    from medpipe.tracking.store import ensure_store

    settings = Settings()
    if with_sample and settings.hub is not None:
        generate(settings.hub)
    with open_instance(settings) as instance:
        for ahead in list(sensors_ahead(instance)):
            if ahead.repair is not None:
                ahead.repair()
    if is_own_store(settings):
        ensure_store(settings)


def serve_until_stopped(
    settings: Settings,
    places: Places,
    *,
    more: Callable[[Path], Sequence[ServerSpec]] = lambda _: (),
    urls: Sequence[str] = (),
    with_sample: bool = False,
) -> None:
    """Runs the platform's servers until SIGINT, SIGTERM or SIGHUP; leaves no process behind.

    Args:
        settings: the settings.
        places: where both UIs are served.
        more: further servers, given a folder that nobody else may enter and that goes with the command.
        urls: what a person opens; each server's own address if empty.
        with_sample: work on the sample corpus instead of the hub.

    Raises:
        ServerError: a port is in use, or a server does not start.
        HomeInUseError: the servers of this home are running already.
    """
    with only_servers(settings):
        require_free(places.dagster_port, "--dagster-port")
        if is_own_store(settings):
            require_free(places.mlflow_port, "--mlflow-port")
            if places.mlflow_port == places.dagster_port:
                raise ServerError(
                    f"both UIs cannot have port {places.mlflow_port}; give another --mlflow-port"
                )
        folder = Path(tempfile.mkdtemp(prefix="medpipe-"))
        keep_watch()
        stop = Stop()
        log = ServerLog(settings.home / LOG, redaction=redaction_of(settings))
        try:
            if with_sample:
                os.environ |= {"MEDPIPE_HUB": sample_hub(settings).as_posix(), "MEDPIPE_PLAN": DEMO_PLAN}
            _prepare(settings, with_sample=with_sample)
            specs = [*platform_servers(settings, places, folder=folder), *more(folder)]
            with running(specs, log, is_stopped=lambda: stop.requested) as supervisor:
                for name, url in [(each.name, each.url) for each in specs if each.url and not urls]:
                    log.say(NAME, f"{name:8} {url}")
                for url in urls:
                    log.say(NAME, url)
                log.say(NAME, f"this log is in {log.path}; Ctrl-C stops everything")
                supervisor.watch()
            log.say(NAME, "stopped")
        except StoppedError:
            log.say(NAME, "stopped")
        finally:
            log.close()
            shutil.rmtree(folder, ignore_errors=True)


def _prepare(settings: Settings, *, with_sample: bool) -> None:
    """Prepares in a process of its own: this one is to stay small, and its threads did not follow the fork.

    Raises:
        ServerError: they cannot be created; the message says why.
    """
    prepare_instance(settings)
    made = subprocess.run(
        [sys.executable, "-c", _PREPARE.format(with_sample)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode != 0:
        said = redaction_of(settings).of(made.stdout.strip())
        raise ServerError(said.splitlines()[-1] if said else f"status {made.returncode}")
