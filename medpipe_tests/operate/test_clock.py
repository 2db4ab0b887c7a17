"""The daemon's clock jumps: a schedule fires once for what it missed, and never twice for the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from medpipe.operate.instance import open_instance
from medpipe.settings import Settings
from medpipe_tests.operate.dev import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), reason="apt-get install faketime"
    ),
]

LOCATION = """
import dagster as dg

@dg.op
def nothing():
    pass

@dg.job
def refresh():
    nothing()

weekly = dg.ScheduleDefinition(
    name="weekly", job=refresh, cron_schedule="0 3 * * 1", default_status=dg.DefaultScheduleStatus.RUNNING
)
defs = dg.Definitions(jobs=[refresh], schedules=[weekly])
"""
DAEMON = """
import sys, threading, time
# Python sleeps until a time of the monotonic clock; libfaketime mistakes that time for one of its own.
time.sleep = lambda seconds: threading.Event().wait(seconds)
from dagster._daemon.cli import main
sys.argv = ["dagster-daemon", "run", "-f", sys.argv[1]]
main()
"""
MONDAY = datetime(2030, 1, 7, 2, 59, 58, tzinfo=UTC)
"""Two seconds before it is due."""


class Clock:
    """What a daemon takes for the time; goes on by itself from where it is set."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def set(self, value: datetime) -> None:
        """Jumps."""
        ahead = value.timestamp() - time.time()
        temporary = self.path.with_suffix(".new")
        temporary.write_text(f"{ahead:+.0f}")
        temporary.replace(self.path)

    @property
    def environment(self) -> dict[str, str]:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", "")
    with open_instance(Settings(home=tmp_path)) as found:
        yield found


def test_a_jump_of_the_clock_neither_doubles_nor_floods(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    (tmp_path / "location.py").write_text(LOCATION)
    clock = Clock(tmp_path / "clock")
    clock.set(MONDAY - timedelta(hours=1))
    with (tmp_path / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(tmp_path / "location.py")],
            env=os.environ | clock.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def runs_after(expected: int) -> int:
        """Runs there are some seconds after that many have come: the scheduler looks every five."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and instance.get_runs_count() < expected:
            assert daemon.poll() is None, (tmp_path / "daemon.log").read_text()
            time.sleep(0.5)
        time.sleep(8)
        assert daemon.poll() is None, (tmp_path / "daemon.log").read_text()
        return instance.get_runs_count()

    def has_looked() -> bool | None:
        assert daemon.poll() is None, (tmp_path / "daemon.log").read_text()
        return True if instance.all_instigator_state() else None

    try:
        wait_for(has_looked, seconds=120, what="the scheduler's first look")
        clock.set(MONDAY)
        assert runs_after(1) == 1, (tmp_path / "daemon.log").read_text()
        clock.set(MONDAY + timedelta(weeks=7, hours=1))
        assert runs_after(2) == 2, "what was missed in seven weeks is made up for once"
        clock.set(MONDAY - timedelta(hours=1))
        assert runs_after(2) == 2, "it fired again for a time that it had fired for"
        clock.set(MONDAY + timedelta(weeks=7, hours=2))
        assert runs_after(2) == 2
        clock.set(MONDAY + timedelta(weeks=8, hours=1))
        assert runs_after(3) == 3, "it fires again when it is due"
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
