"""Dagster's own commands serve the repository's two files as they are; a port in use is named."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from medpipe.operate.instance import only_servers
from medpipe.operate.servers import ServerError, require_free
from medpipe.settings import Settings
from medpipe_tests.operate.conftest import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }
"""


def locations(port: int) -> list[dict[str, object]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": LOCATIONS}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        entries: list[dict[str, object]] = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    return entries


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["-m", "dagster", "dev", "-w", "workspace.yaml"],
        ["-m", "dagster_webserver", "-w", "workspace.yaml"],
    ],
    ids=["dagster dev", "dagster-webserver"],
)
def test_the_repository_is_served_without_any_setting(command: list[str], tmp_path: Path) -> None:
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    port = free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "MEDPIPE_"))}
    process = subprocess.Popen(
        [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=tmp_path,
        env=env,
        stdout=(tmp_path / "log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        found: list[dict[str, object]] = []
        while not found and time.monotonic() < deadline:
            assert process.poll() is None, (tmp_path / "log").read_text()
            with contextlib.suppress(OSError):
                found = locations(port)
            time.sleep(0.5)
        loaded = {"__typename": "RepositoryLocation"}
        assert found == [{"name": "medpipe", "locationOrLoadError": loaded}], (tmp_path / "log").read_text()
        assert list((tmp_path / ".medpipe" / "dagster").rglob("*.db")), "history would be lost on exit"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_port_in_use_is_named_with_the_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"port {port} is in use.*--dagster-port"):
            require_free(port, "--dagster-port")
    require_free(free_port(), "--dagster-port")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_not_called_a_port_in_use(host: str) -> None:
    with pytest.raises(ServerError, match=rf"{host} is no address of this machine.*--host"):
        require_free(free_port(), "--port", host=host)


def test_a_second_set_of_servers_on_one_home_is_refused(tmp_path: Path) -> None:
    """Two daemons would start what is queued twice; other ports do not make it better."""
    ports = ["--dagster-port", str(free_port()), "--mlflow-port", str(free_port())]
    with only_servers(Settings(home=tmp_path)):
        refused = subprocess.run(
            [sys.executable, "-m", "medpipe.cli", "dev", *ports],
            env={**os.environ, "MEDPIPE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert refused.returncode == 1, refused.stdout
    assert f"process {os.getpid()} serves {tmp_path} already" in refused.stderr.replace("\n", " ")
    with only_servers(Settings(home=tmp_path)):
        pass
