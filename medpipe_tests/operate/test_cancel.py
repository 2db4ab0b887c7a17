"""Cancelling a run in Dagster ends the trainer, which leaves a checkpoint; the next run goes on from it."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow]

LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
TERMINATE = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def ask(address: str, query: str, **variables: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        data: dict[str, Any] = json.load(answer)
    assert "errors" not in data, data
    return data["data"]


def wait_for(condition: Any, *, seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (value := condition()) is not None:
            return value
        time.sleep(0.3)
    pytest.fail(f"{what} did not happen within {seconds:.0f} s")


def trainer_of(home: Path) -> int | None:
    """Process id of the trainer once it has taken its first steps."""
    for spool in (home / "lake" / "runs").glob("*/*/metrics.jsonl"):
        if spool.stat().st_size > 0:
            return int((spool.parent / "lock").read_text())
    return None


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def status_of(address: str, run: str) -> str:
    return str(ask(address, STATUS, id=run)["runOrError"]["status"])


def test_cancelling_ends_the_trainer_within_seconds(address: str, home: Path) -> None:
    location = {
        "repositoryLocationName": "medpipe.definitions",
        "repositoryName": "__repository__",
        "jobName": "full_pipeline",
    }
    launched = ask(address, LAUNCH, params={"selector": location, "mode": "default", "runConfigData": {}})
    run = launched["launchPipelineExecution"]["run"]["runId"]

    def trainer_or_failure() -> int | None:
        assert status_of(address, run) not in ("FAILURE", "CANCELED"), (home / "dev.log").read_text()[-4000:]
        return trainer_of(home)

    trainer = wait_for(trainer_or_failure, seconds=300, what="the first training step")
    assert is_alive(trainer) and trainer != os.getpid()
    ask(address, TERMINATE, id=run)
    asked = time.monotonic()
    wait_for(lambda: None if is_alive(trainer) else True, seconds=60, what="the end of the trainer")
    assert time.monotonic() - asked < 60
    ended = wait_for(
        lambda: s if (s := status_of(address, run)) in ("CANCELED", "FAILURE") else None,
        seconds=60,
        what="the end of the run",
    )
    assert ended == "CANCELED"
    checkpoints = list((home / "lake" / "runs").glob("*/*/checkpoints/*/manifest.json"))
    assert checkpoints, "the cancelled trainer left no checkpoint"
