"""`medpipe dev` from outside: its processes, its GraphQL interface, what it leaves in a home."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

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
STATUS = """
query($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } ... on Error { message } } }
"""
RELOAD = "mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"
RUNS = """
{ runsOrError { __typename ... on Runs { results { runId status parentRunId } } ... on Error { message } } }
"""


def start_dev(home: Path, *, dagster: int, mlflow: int, **settings: str) -> subprocess.Popen[bytes]:
    """Starts both UIs; they answer once `wait_until_served` returns."""
    command = [sys.executable, "-m", "medpipe.cli", "dev"]
    command += ["--dagster-port", str(dagster), "--mlflow-port", str(mlflow)]
    return subprocess.Popen(
        command,
        env={**os.environ, "MEDPIPE_HOME": str(home), **settings},
        stdout=(home / "dev.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_until_served(
    home: Path, url: str, process: subprocess.Popen[bytes], *, path: str = "/server_info"
) -> None:
    """Waits for the Dagster UI, or for another server that says by a path that it is there."""

    def answers() -> bool | None:
        assert process.poll() is None, (home / "dev.log").read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}{path}", timeout=2):
            return True
        return None

    wait_for(answers, seconds=180, what=f"an answer of {url}{path}")


def stop_dev(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def ask(address: str, query: str, **variables: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            data: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:  # also where the answer names what a person did wrong
        said = error.read()
        assert said.startswith(b"{"), (error.code, said)
        data = json.loads(said)
    assert "errors" not in data, data
    return data["data"]


def launch(address: str, job: str, *assets: str, tags: dict[str, str] | None = None) -> str:
    """Starts a job, or those of its assets that are named; returns the run's id."""
    location = {"repositoryLocationName": "medpipe.definitions", "repositoryName": "__repository__"}
    chosen = {"assetSelection": [{"path": name.split("/")} for name in assets]} if assets else {}
    launched = ask(
        address,
        LAUNCH,
        params={
            "selector": {**location, "jobName": job, **chosen},
            "mode": "default",
            "runConfigData": {"loggers": {"console": {}}},
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in (tags or {}).items()]},
        },
    )["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def status_of(address: str, run: str) -> str:
    found = ask(address, STATUS, id=run)["runOrError"]
    assert "status" in found, found
    return str(found["status"])


def runs_of(address: str) -> list[dict[str, Any]]:
    """All runs, the newest first."""
    found = ask(address, RUNS)["runsOrError"]
    assert "results" in found, found
    results: list[dict[str, Any]] = found["results"]
    return results


def retry_of(address: str, run: str) -> str | None:
    """The run that was started automatically because this one crashed."""
    return next((each["runId"] for each in runs_of(address) if each["parentRunId"] == run), None)


def wait_for(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Asks often at first and then less, as each question costs what is waited for some of its time."""
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < seconds:
        if (value := condition()) is not None:
            return value
        time.sleep(0.2 if waited < 10 else 0.5)
    pytest.fail(f"{what} did not happen within {seconds:.0f} s")


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def trainers(home: Path) -> list[psutil.Process]:
    """Trainer processes that work below a home."""
    return [
        process
        for process, command in _processes()
        if "medpipe.pretrain.worker" in command
        and "medpipe.pretrain.guard" not in command
        and any(part.startswith(str(home)) for part in command)
    ]


def everything(home: Path) -> list[psutil.Process]:
    """All processes whose environment names the home: servers, workers, trainers."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MEDPIPE_HOME") == str(home) and process.pid != os.getpid():
                found.append(process)
    return found


def _processes() -> Iterator[tuple[psutil.Process, list[str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.cmdline()
