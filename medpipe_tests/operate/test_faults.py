"""A platform with secrets in its environment, a broken catalog entry, and everything it talks to gone.

What is planted must be found nowhere afterwards; what is broken is named with its fix, and mended it works.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medpipe.operate.dev import LOG
from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.dev import (
    RELOAD,
    ask,
    launch,
    start_dev,
    status_of,
    stop_dev,
    wait_for,
    wait_until_served,
)
from medpipe_tests.pretrain.corpus import build_corpus

pytestmark = pytest.mark.slow

PLANTED = (
    "hf_plantedToken1",
    "plantedWord2",
    "plantedHook3",
    "plantedDoor4word",
    "plantedWord5",
    "plantedKey6",
)
SECRETS = {
    "HF_TOKEN": PLANTED[0],
    "MLFLOW_TRACKING_URI": f"http://ann:{PLANTED[1]}@127.0.0.1:9",
    "MEDPIPE_WEBHOOK_URL": f"http://127.0.0.1:9/{PLANTED[2]}",
    "MEDPIPE_SERVE_PASSWORD": PLANTED[3],
    "HF_ENDPOINT": f"http://ann:{PLANTED[4]}@127.0.0.1:9",
    "AWS_SECRET_ACCESS_KEY": PLANTED[5],
}
ENTRY = """
publisher: Nobody
sources:
  - id: made_up
    repository: nobody/made_up
    kind: document
"""
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
    __typename
    ... on PythonError { message stack cause { message } }
} } } } }
"""
ERRORS = """
query($id: ID!) { runOrError(runId: $id) { ... on Run {
  eventConnection { events { ... on MessageEvent { message } ... on ExecutionStepFailureEvent { error {
    message causes { message } } } } }
} } }
"""


@dataclass
class Platform:
    """`medpipe dev` in a bad world."""

    home: Path
    url: str

    def location(self) -> dict[str, Any]:
        """The code location as the UI has it."""
        (entry,) = ask(self.url, LOCATIONS)["workspaceOrError"]["locationEntries"]
        found: dict[str, Any] = entry["locationOrLoadError"]
        return found

    def ended(self, run: str) -> str:
        """How a run ended."""

        def status() -> str | None:
            found = status_of(self.url, run)
            return found if found in ("SUCCESS", "FAILURE", "CANCELED") else None

        return str(wait_for(status, seconds=240, what="the end of the run"))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("faults")
    build_corpus(home / "lake", documents=60)
    (home / "sources").mkdir()
    port = free_port()
    process = start_dev(
        home,
        dagster=port,
        mlflow=free_port(),
        MEDPIPE_SOURCES=str(home / "sources"),
        MEDPIPE_PLAN="tiny",
        **SECRETS,
    )
    platform = Platform(home, f"http://127.0.0.1:{port}")
    try:
        wait_until_served(home, platform.url, process)
        yield platform
    finally:
        stop_dev(process)


def test_a_broken_location_is_named_and_mended(platform: Platform) -> None:
    assert platform.location()["__typename"] == "RepositoryLocation"
    broken = platform.home / "sources" / "broken.yaml"
    broken.write_text(ENTRY.replace("kind: document", "kind: poem"))
    ask(platform.url, RELOAD, name="medpipe.definitions")
    error = wait_for(
        lambda: e if (e := platform.location())["__typename"] == "PythonError" else None,
        seconds=60,
        what="the error",
    )
    said = str(error)
    assert "broken.yaml" in said and "kind" in said, said
    # The UI answers, and the daemon goes on: it was not taken along.
    log = (platform.home / LOG).read_text()
    assert "daemon ended" not in log and "dagster ended" not in log
    broken.unlink()
    ask(platform.url, RELOAD, name="medpipe.definitions")
    wait_for(
        lambda: True if platform.location()["__typename"] == "RepositoryLocation" else None,
        seconds=60,
        what="the mended location",
    )


def test_secrets_are_in_nothing_that_is_left(platform: Platform) -> None:
    runs = {
        "trained": launch(platform.url, "pretrain_curriculum", "pretrain/fast"),
        "no hub": launch(platform.url, "refresh_corpus", "raw/huatuo_encyclopedia_qa"),
    }
    assert platform.ended(runs["no hub"]) == "FAILURE"
    assert platform.ended(runs["trained"]) == "SUCCESS", "MLflow is gone, which must not stop the training"
    said = str([ask(platform.url, ERRORS, id=run) for run in runs.values()])
    assert "127.0.0.1:9" in said, "neither of the two said what it could not reach"
    command = [sys.executable, "-m", "medpipe.cli", "doctor"]
    for database in ("postgresql://ann:plantedWord7@127.0.0.1:9/x", "mysql://ann:plantedWord7@127.0.0.1:9/x"):
        own = {"MEDPIPE_HOME": str(platform.home / "postgres"), "MEDPIPE_DAGSTER_POSTGRES_URL": database}
        asked = subprocess.run(command, capture_output=True, text=True, env=_environment(own))
        assert asked.returncode == 1 and "plantedWord7" not in asked.stdout + asked.stderr
    planted = [each.encode() for each in (*PLANTED, "plantedWord7")]
    assert not [each for each in planted if each in said.encode()]
    files = [path for path in platform.home.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".db", ".err", ".out", ".log", ".jsonl", ".yaml"} <= kinds, kinds
    for path in files:
        content = path.read_bytes()
        found = [each for each in planted if each in content]
        assert not found, f"{path} holds {found}"


def _environment(more: dict[str, str]) -> dict[str, str]:
    return os.environ | SECRETS | more
