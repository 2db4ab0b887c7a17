"""Both UIs on loopback, started together and stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from medpipe.operate.instance import open_instance
from medpipe.pretrain.guard import PARENT_VARIABLE
from medpipe.settings import Settings
from medpipe.tracking.store import ensure_store

LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 20


class ServerError(OSError):
    """A server could not be started; the message names the port and the fix."""


@dataclass(frozen=True)
class Server:
    """A web server that runs in a process of its own."""

    name: str
    url: str
    process: subprocess.Popen[bytes]


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ServerError(
                error.errno, f"port {port} is in use; stop what uses it or give another with {option}"
            ) from error


def _start(name: str, command: list[str], *, port: int, env: dict[str, str]) -> Server:
    guarded = [sys.executable, "-m", "medpipe.pretrain.guard", "--", *command]
    parent = {PARENT_VARIABLE: str(os.getpid())}
    process = subprocess.Popen(guarded, env={**os.environ, **env, **parent}, start_new_session=True)
    return Server(name, f"http://{LOOPBACK}:{port}", process)


def _stop(server: Server) -> None:
    """Ends a server politely, then whatever is left of its process group."""
    server.process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def _wait_until_open(server: Server, port: int, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise ServerError(
                f"{server.name} ended with status {server.process.returncode}; its output is above"
            )
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        time.sleep(0.2)
    raise ServerError(f"{server.name} did not answer on port {port} within {seconds:.0f} s")


@contextlib.contextmanager
def running_servers(settings: Settings, *, dagster_port: int, mlflow_port: int) -> Iterator[list[Server]]:
    """Starts the Dagster UI and its daemon, and the MLflow UI where its store is ours; ends them after.

    Raises:
        ServerError: a port is in use, or a server ended at once.
    """
    _require_free(dagster_port, "--dagster-port")
    own_store = settings.mlflow_tracking_uri is None
    if own_store:
        _require_free(mlflow_port, "--mlflow-port")
        ensure_store(settings)
    with open_instance(settings):
        pass
    servers: list[Server] = []
    try:
        dagster = [sys.executable, "-m", "dagster", "dev", "-m", "medpipe.definitions"]
        dagster += ["--host", LOOPBACK, "--port", str(dagster_port)]
        environment = {
            "MEDPIPE_HOME": settings.home.as_posix(),
            "MEDPIPE_DAGSTER_URL": f"http://{LOOPBACK}:{dagster_port}",
            "MEDPIPE_MLFLOW_URL": f"http://{LOOPBACK}:{mlflow_port}" if own_store else settings.mlflow_ui_url,
            # On unless somebody said no; a code location that is loaded elsewhere stays off until told.
            "MEDPIPE_REFRESH_AUTOMATIC": "off" if settings.refresh.automatic is False else "on",
            "PYTHONWARNINGS": "ignore",
        }
        servers.append(_start("Dagster", dagster, port=dagster_port, env=environment))
        if own_store:
            mlflow = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", settings.tracking_uri]
            mlflow += ["--artifacts-destination", (settings.mlflow_home / "artifacts").as_posix()]
            mlflow += ["--host", LOOPBACK, "--port", str(mlflow_port), "--workers", "1"]
            quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
            quiet["PYTHONWARNINGS"] = "ignore"
            servers.append(_start("MLflow", mlflow, port=mlflow_port, env=quiet))
        for server, port in zip(servers, (dagster_port, mlflow_port), strict=False):
            _wait_until_open(server, port, seconds=120)
        yield servers
    finally:
        for server in servers:
            _stop(server)
