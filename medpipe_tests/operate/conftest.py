"""Both UIs as `medpipe dev` starts them, on the sample."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from medpipe.sample.generate import generate


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ui")
    generate(folder / "sample")
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """The UIs as `medpipe dev` starts them."""
    dagster, mlflow = free_port(), free_port()
    command = [sys.executable, "-m", "medpipe.cli", "dev"]
    command += ["--dagster-port", str(dagster), "--mlflow-port", str(mlflow)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "MEDPIPE_HOME": str(home), "MEDPIPE_HUB": str(home / "sample")},
        stdout=(home / "dev.log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        url = f"http://127.0.0.1:{dagster}"
        while time.monotonic() < deadline:
            assert process.poll() is None, (home / "dev.log").read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/server_info", timeout=2):
                break
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
