"""Which servers the platform is made of, and how each is started on loopback."""

from __future__ import annotations

import errno
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from medpipe.lake.files import write_bytes_atomically
from medpipe.settings import Settings

LOOPBACK = "127.0.0.1"
LOCATION = "medpipe.definitions"
"""Name of the code location."""


class ServerError(OSError):
    """A server could not be started; the message names the port and the fix."""


HUB_SECRETS = ("HF_TOKEN",)
"""Of no use to a server that does not fetch."""


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """A server to be run in a process of its own."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    """Beside what this process has."""
    without: tuple[str, ...] = ()
    """What this process has and the server shall not."""
    opens: int | Path | None = None
    """Port on loopback or socket file that answers once it is up."""
    url: str | None = None
    """Where a person opens it."""
    is_needed: bool = False
    """Those behind it are started once it is up."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the two UIs are served."""

    dagster_port: int
    mlflow_port: int
    dagster_prefix: str = ""
    """Path below which it is served, such as `/dagster`; none if empty."""
    mlflow_prefix: str = ""
    public_url: str | None = None
    """Of a reverse proxy before both, used in links; each server's own address if None."""

    @property
    def dagster_url(self) -> str:
        """Where people open Dagster."""
        return (self.public_url or f"http://{LOOPBACK}:{self.dagster_port}") + self.dagster_prefix

    @property
    def mlflow_url(self) -> str:
        """Where people open MLflow."""
        return (self.public_url or f"http://{LOOPBACK}:{self.mlflow_port}") + self.mlflow_prefix


def require_free(port: int, option: str, *, host: str = LOOPBACK) -> None:
    """Looks whether a port can be opened.

    Raises:
        ServerError: it is in use, or nobody may open it here; the option that chooses another is named.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: f"port {port} is in use; stop what uses it or give another with {option}",
            errno.EACCES: f"port {port} is for root only; give one above 1023 with {option}",
        }.get(error.errno or 0, f"{host} is no address of this machine ({error.strerror}); correct --host")
        raise ServerError(error.errno, reason) from error


def is_own_store(settings: Settings) -> bool:
    """Whether MLflow's runs lie in a database, so that its UI is ours to start; else a server has them."""
    return not settings.tracking_uri.startswith(("http://", "https://", "databricks"))


def platform_servers(settings: Settings, places: Places, *, folder: Path) -> list[ServerSpec]:
    """The servers in the order in which they are started.

    Args:
        settings: the settings.
        places: ports and paths.
        folder: for the code server's socket and what says where it is; nobody else may enter it.
    """
    code_socket, workspace = folder / "code.sock", folder / "workspace.yaml"
    location = {"grpc_server": {"socket": code_socket.as_posix(), "location_name": LOCATION}}
    write_bytes_atomically(workspace, yaml.safe_dump({"load_from": [location]}).encode())
    own_store = is_own_store(settings)
    environment = {
        "MEDPIPE_HOME": settings.home.as_posix(),
        "MEDPIPE_DAGSTER_URL": places.dagster_url,
        "MEDPIPE_MLFLOW_URL": places.mlflow_url if own_store else settings.mlflow_ui_url,
        # On unless somebody said no; a code location that is loaded elsewhere stays off until told.
        "MEDPIPE_REFRESH_AUTOMATIC": "off" if settings.refresh.automatic is False else "on",
        "DAGSTER_IS_DEV_CLI": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
    }
    code = _python("dagster", "code-server", "start", "--socket", code_socket.as_posix())
    code += ("-m", LOCATION, "--location-name", LOCATION, "--use-python-environment-entry-point")
    # Behind the proxy too: a browser on the machine reaches its port past the proxy.
    webserver = _python("medpipe.operate.webserver", "-w", workspace.as_posix(), "--host", LOOPBACK)
    webserver += ("--port", str(places.dagster_port))
    if places.dagster_prefix:
        webserver += ("--path-prefix", places.dagster_prefix)
    daemon = _python("dagster._daemon", "run", "-w", workspace.as_posix())
    servers = [_mlflow(settings, places)] if own_store else []
    servers += [
        ServerSpec(name="code", command=code, env=environment, opens=code_socket, is_needed=True),
        ServerSpec(
            name="dagster",
            command=webserver,
            env=environment,
            opens=places.dagster_port,
            url=places.dagster_url,
        ),
        ServerSpec(name="daemon", command=daemon, env=environment),
    ]
    return servers


def _python(*arguments: str) -> tuple[str, ...]:
    return sys.executable, "-m", *arguments


def _mlflow(settings: Settings, places: Places) -> ServerSpec:
    command = _python("mlflow", "server", "--host", LOOPBACK, "--port", str(places.mlflow_port))
    command += ("--workers", "1")
    command += ("--artifacts-destination", (settings.mlflow_home / "artifacts").as_posix())
    if places.mlflow_prefix:
        command += ("--static-prefix", places.mlflow_prefix)
    env = {
        # Not on the command line, which everybody on the machine can read: it may hold a password.
        "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
    }
    return ServerSpec(
        name="mlflow",
        command=command,
        env=env,
        without=HUB_SECRETS,
        opens=places.mlflow_port,
        url=places.mlflow_url,
    )


def is_open(place: int | Path) -> bool:
    """Whether a port on loopback or a socket file takes connections."""
    family = socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET
    address = os.fspath(place) if isinstance(place, Path) else (LOOPBACK, place)
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex(address) == 0
