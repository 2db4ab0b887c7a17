"""Two refreshes at once in one daemon, which is killed meanwhile: they end as one undisturbed refresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from medpipe.lake.layout import Lake
from medpipe.refresh.jobs import raw_config
from medpipe.tokens.snapshot import list_snapshots, read_snapshot
from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.dev import (
    ask,
    everything,
    launch,
    start_dev,
    stop_dev,
    wait_for,
    wait_until_served,
)
from medpipe_tests.refresh.corpus import SOURCES, make_installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOBODY = "http://127.0.0.1:9"
"""An MLflow server that is not there: no refresh needs one."""
RUNS = "{ runsOrError { ... on Runs { results { runId status startTime endTime } } } }"


def datasets(lake: Lake) -> dict[str, set[str]]:
    """Digests of all data sets by room and name."""
    found: dict[str, set[str]] = {}
    for manifest in lake.root.rglob("manifest.json"):
        folder = manifest.parent
        if not any(part.startswith(".") for part in folder.relative_to(lake.root).parts):
            found.setdefault(folder.parent.relative_to(lake.root).as_posix(), set()).add(folder.name)
    return found


def daemon_of(home: Path) -> psutil.Process | None:
    found = [each for each in everything(home) if "dagster._daemon" in each.cmdline()]
    return found[0] if len(found) == 1 else None


def test_two_runs_of_a_daemon_that_is_killed_end_as_one(tmp_path: Path) -> None:
    undisturbed, disturbed = make_installation(tmp_path / "one"), make_installation(tmp_path / "two")
    with dg.DagsterInstance.ephemeral() as instance:
        assert undisturbed.build(instance, run_config=raw_config(SOURCES, refresh=True)).success

    settings, port = disturbed.settings, free_port()
    settings.home.mkdir()
    process = start_dev(
        settings.home,
        dagster=port,
        mlflow=free_port(),
        MEDPIPE_HUB=str(settings.hub),
        MEDPIPE_SOURCES=str(settings.sources),
        MEDPIPE_PLAN=settings.plan,
        MEDPIPE_REFRESH_AUTOMATIC="false",
        MLFLOW_TRACKING_URI=NOBODY,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_served(settings.home, url, process)
        launched = {launch(url, "refresh_corpus") for _ in range(2)}

        def started() -> bool | None:
            runs = ask(url, RUNS)["runsOrError"]["results"]
            return True if all(run["status"] == "STARTED" for run in runs) else None

        wait_for(started, seconds=200, what="both runs at work")
        daemon = daemon_of(settings.home)
        assert daemon is not None
        daemon.kill()
        daemon.wait(20)
        wait_for(lambda: daemon_of(settings.home), seconds=60, what="a daemon in its place")

        def ended() -> list[dict[str, Any]] | None:
            runs: list[dict[str, Any]] = ask(url, RUNS)["runsOrError"]["results"]
            return runs if all(run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in runs) else None

        first, second = wait_for(ended, seconds=400, what="the end of both runs")
    finally:
        stop_dev(process)
    assert {first["runId"], second["runId"]} == launched
    assert first["status"] == second["status"] == "SUCCESS"
    assert max(first["startTime"], second["startTime"]) < min(first["endTime"], second["endTime"])
    assert read_snapshot(disturbed.lake) == read_snapshot(undisturbed.lake)
    assert datasets(disturbed.lake) == datasets(undisturbed.lake)
    assert len(list_snapshots(disturbed.lake)) == 1
    assert not [path for path in disturbed.lake.root.rglob(".*") if path.is_dir() and "draft" in path.name]
