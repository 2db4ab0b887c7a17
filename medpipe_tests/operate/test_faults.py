"""A platform with secrets in its environment, a broken catalog entry, and the hub and MLflow gone.

What is planted must be found nowhere afterwards; what is broken is named with its fix, and mended it works.
Its daemon tells a web service of what failed, and shows what is stale.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medpipe.ingest.assets import HUB_POOL
from medpipe.operate.dev import LOG
from medpipe.operate.instance import open_instance
from medpipe.settings import Settings
from medpipe.tokens.assets import SNAPSHOT_KEY
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

STALE_SECONDS = 61
"""Dagster takes no window of less than a minute."""
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
FRESHNESS = "{ assetNodes { assetKey { path } freshnessStatusInfo { freshnessStatus } } }"
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
    told: list[dict[str, Any]]
    """What its web service was sent."""

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
    told: list[dict[str, Any]] = []
    with web_service(told) as hook:
        process = start_dev(
            home,
            dagster=port,
            mlflow=free_port(),
            MEDPIPE_SOURCES=str(home / "sources"),
            MEDPIPE_PLAN="tiny",
            MEDPIPE_REFRESH_STALE_DAYS=str(STALE_SECONDS / 86_400),
            MEDPIPE_WEBHOOK_URL=f"{hook}/{PLANTED[2]}",
            **SECRETS,
        )
        platform = Platform(home, f"http://127.0.0.1:{port}", told)
        try:
            wait_until_served(home, platform.url, process)
            with open_instance(Settings(home=home)) as instance:
                instance.report_runless_asset_event(dg.AssetMaterialization(SNAPSHOT_KEY))
            yield platform
        finally:
            stop_dev(process)


@contextmanager
def web_service(told: list[dict[str, Any]]) -> Iterator[str]:
    """A web service on loopback that keeps what it is sent; its address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append({"path": self.path, **body})
            self.send_response(204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def runs(platform: Platform) -> dict[str, str]:
    """A run that can do without what is gone, and one that cannot."""
    runs = {
        "trained": launch(platform.url, "pretrain_curriculum", "pretrain/fast"),
        "no hub": launch(platform.url, "refresh_corpus", "raw/huatuo_encyclopedia_qa"),
    }
    assert platform.ended(runs["no hub"]) == "FAILURE"
    assert platform.ended(runs["trained"]) == "SUCCESS", "MLflow is gone, which must not stop the training"
    return runs


@contextmanager
def broken_location(platform: Platform) -> Iterator[str]:
    """The code location does not load while the block runs; what the UI says of that."""
    assert platform.location()["__typename"] == "RepositoryLocation"
    broken = platform.home / "sources" / "broken.yaml"
    broken.write_text(ENTRY.replace("kind: document", "kind: poem"))
    ask(platform.url, RELOAD, name="medpipe.definitions")
    error = wait_for(
        lambda: e if (e := platform.location())["__typename"] == "PythonError" else None,
        seconds=60,
        what="the error",
    )
    yield str(error)
    broken.unlink()
    ask(platform.url, RELOAD, name="medpipe.definitions")
    wait_for(
        lambda: True if platform.location()["__typename"] == "RepositoryLocation" else None,
        seconds=60,
        what="the mended location",
    )


def test_a_broken_location_is_named_and_mended(platform: Platform) -> None:
    with broken_location(platform) as said:
        assert "broken.yaml" in said and "kind" in said, said
    # The UI answers, and the daemon goes on: it was not taken along.
    log = (platform.home / LOG).read_text()
    assert "daemon ended" not in log and "dagster ended" not in log


def test_the_daemon_tells_the_web_service_of_the_failed_run_alone(
    platform: Platform, runs: dict[str, str]
) -> None:
    (told,) = wait_for(lambda: platform.told or None, seconds=120, what="the message")
    assert (told["job"], told["run"]) == ("refresh_corpus", runs["no hub"])
    assert told["step"] == "raw/huatuo_encyclopedia_qa" and told["path"] == f"/{PLANTED[2]}"
    assert "127.0.0.1:9" in told["message"] and told["link"].endswith(f"/runs/{runs['no hub']}")
    assert not [each for each in PLANTED if each in str({**told, "path": ""})]
    assert f"failed at {told['step']}" in (platform.home / LOG).read_text()


def test_the_daemon_shows_what_nobody_has_refreshed_for_too_long(platform: Platform) -> None:
    def is_stale() -> bool | None:
        nodes = ask(platform.url, FRESHNESS)["assetNodes"]
        shown = {"/".join(node["assetKey"]["path"]): node["freshnessStatusInfo"] for node in nodes}
        status = (shown["snapshot"] or {}).get("freshnessStatus")
        return True if status in ("WARNING", "DEGRADED") else None

    wait_for(is_stale, seconds=2 * STALE_SECONDS + 60, what="a stale snapshot")


def test_what_is_queued_while_the_location_is_broken_waits(platform: Platform, runs: dict[str, str]) -> None:
    with open_instance(Settings(home=platform.home)) as instance:
        storage = instance.event_log_storage
        # Without a slot in its pool it is held in the queue until the location is broken.
        storage.set_concurrency_slots(HUB_POOL, 0)
        waiting = launch(platform.url, "refresh_corpus", "raw/huatuo_encyclopedia_qa")
        with broken_location(platform):
            assert status_of(platform.url, waiting) == "QUEUED"
            storage.set_concurrency_slots(HUB_POOL, 1)
            again = "re-submitting the run into the queue"
            wait_for(
                lambda: True if again in str(ask(platform.url, ERRORS, id=waiting)) else None,
                seconds=120,
                what=again,
            )
            wait_for(
                lambda: True if status_of(platform.url, waiting) == "QUEUED" else None,
                seconds=60,
                what="the place in the queue",
            )
    assert platform.ended(waiting) == "FAILURE"
    assert "127.0.0.1:9" in str(ask(platform.url, ERRORS, id=waiting)), "it failed of something else"


def test_secrets_are_in_nothing_that_is_left(platform: Platform, runs: dict[str, str]) -> None:
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
