"""Both UIs as `medpipe dev` starts them, on the sample."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from medpipe.sample.generate import generate
from medpipe_tests.operate.dev import start_dev, stop_dev, wait_until_served


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
    dagster = free_port()
    process = start_dev(home, dagster=dagster, mlflow=free_port(), MEDPIPE_HUB=str(home / "sample"))
    try:
        url = f"http://127.0.0.1:{dagster}"
        wait_until_served(home, url, process)
        yield url
    finally:
        stop_dev(process)
