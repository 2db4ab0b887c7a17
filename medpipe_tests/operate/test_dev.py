"""`medpipe dev`: one log, a server that dies is started again, and nothing is left however it ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from medpipe.operate.dev import LOG
from medpipe.operate.keeper import TRAINER
from medpipe.operate.redaction import Redaction, redaction_of
from medpipe.operate.server_log import KEPT_FILES, ServerLog
from medpipe.sample.generate import generate
from medpipe.settings import Settings
from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.dev import (
    everything,
    is_alive,
    launch,
    runs_of,
    start_dev,
    status_of,
    stop_dev,
    wait_for,
    wait_until_served,
)

NOBODY = "http://127.0.0.1:9"
"""An MLflow server that is not there: a start without MLflow's is half as long."""

KEPT = """
import subprocess, sys, time
from medpipe.operate.keeper import Stop, end_descendants, keep_watch

keep_watch()
stop = Stop()
# An orphan in a session of its own, and a trainer that takes a moment to save.
subprocess.run(["sh", "-c", "setsid sleep 600 & echo $! >orphan"], check=True)
trainer = "import pathlib, signal, sys, time\\n"
trainer += "def save(*_): time.sleep(0.5); pathlib.Path('saved').write_text('x'); sys.exit()\\n"
trainer += "signal.signal(signal.SIGTERM, save); pathlib.Path('ready').write_text('x'); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", trainer, sys.argv[1]], start_new_session=True)
while not stop.requested:
    time.sleep(0.05)
end_descendants()
sys.exit(3)
"""


ASKED = """
import sys
from medpipe.operate.keeper import Stop

stop = Stop()
print("up", flush=True)
sys.stdin.readline()
print(stop.requested)
"""


@pytest.mark.parametrize(("before", "ends"), [((), True), (("nohup",), False)])
def test_a_closed_terminal_stops_it_unless_nohup_says_otherwise(before: tuple[str, ...], ends: bool) -> None:
    # The tests themselves may have been started by nohup.
    command = ["env", "--default-signal=HUP", *before, sys.executable, "-c", ASKED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGHUP)
        assert process.communicate("\n", timeout=60)[0] == f"{ends}\n"


@pytest.mark.parametrize("victim", ["outer", "inner", "asked"])
def test_nothing_is_left_behind_and_a_trainer_saves(victim: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEPT, TRAINER]
    outer = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    try:
        wait_for(lambda: True if (tmp_path / "ready").exists() else None, seconds=60, what="the trainer")
        (inner,) = psutil.Process(outer.pid).children()
        below = inner.children(recursive=True)
        assert int((tmp_path / "orphan").read_text()) in {each.pid for each in below}, "it was not adopted"
        if victim == "asked":
            outer.send_signal(signal.SIGINT)
            outer.send_signal(signal.SIGINT)
        else:
            (outer if victim == "outer" else inner).kill()
        wait_for(
            lambda: None if any(is_alive(each.pid) for each in (inner, *below)) else True,
            seconds=60,
            what="the end of everything",
        )
        assert outer.wait(60) == {"asked": 3, "outer": -signal.SIGKILL, "inner": 128 + signal.SIGKILL}[victim]
        assert (tmp_path / "saved").exists(), "the trainer was not given time to save"
    finally:
        outer.kill()


def test_the_log_is_bounded_names_servers_and_hides_secrets(tmp_path: Path) -> None:
    shown = io.StringIO()
    log = ServerLog(tmp_path / "log", redaction=Redaction(["s3cret-token"]), most_bytes=4000, terminal=shown)
    with subprocess.Popen(
        [sys.executable, "-c", "print('\\x1b[31mred\\x1b[0m s3cret-token')\nfor i in range(999): print(i)"],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        log.follow("daemon", process.stdout)
        process.wait()
        log.close()
    lines = shown.getvalue().splitlines()
    assert lines[0] == "daemon    | red ***"
    assert lines[-1] == "daemon    | 998" and len(lines) == 1000
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT_FILES + 1
    assert all(file.stat().st_size <= 4000 for file in files)
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("daemon    | 998")


def test_passwords_of_addresses_are_secrets_too(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        mlflow_tracking_uri="http://ann:p%40ss-word@tracking:5000",
        hf_token="hf_abcdef",
        hf_endpoint="https://mirror.example",
    )
    text = "ann p%40ss-word p@ss-word hf_abcdef https://mirror.example http://ann:p%40ss-word@tracking:5000"
    assert (
        redaction_of(settings).of(text) == "ann *** *** *** https://mirror.example http://***@tracking:5000"
    )


@pytest.mark.slow
def test_a_dead_daemon_is_started_again_and_sigkill_leaves_nothing(tmp_path: Path) -> None:
    generate(tmp_path / "sample")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start_dev(
        tmp_path,
        dagster=port,
        mlflow=free_port(),
        MEDPIPE_HUB=str(tmp_path / "sample"),
        MLFLOW_TRACKING_URI=NOBODY,
    )
    try:
        wait_until_served(tmp_path, url, process)

        def daemon() -> psutil.Process | None:
            found = [each for each in everything(tmp_path) if "dagster._daemon" in each.cmdline()]
            return found[0] if len(found) == 1 else None

        killed = wait_for(daemon, seconds=60, what="the daemon")
        killed.kill()
        run = launch(url, "refresh_corpus")
        wait_for(lambda: d if (d := daemon()) and d.pid != killed.pid else None, seconds=60, what="a new one")
        wait_for(
            lambda: True if status_of(url, run) == "STARTED" else None, seconds=120, what="the queued run"
        )
        assert [each["runId"] for each in runs_of(url)] == [run], "the run was doubled"
        log = (tmp_path / LOG).read_text()
        assert "medpipe   | daemon ended with status -9; it is started again" in log
        assert log.count("dagster   |") > 0 and log.count("code      |") > 0

        working = everything(tmp_path)
        assert len(working) > 6, "no worker of the run is among them"
        os.kill(process.pid, signal.SIGKILL)
        began = time.monotonic()
        wait_for(lambda: None if everything(tmp_path) else True, seconds=60, what="the end of everything")
        print(f"nothing left {time.monotonic() - began:.1f} s after SIGKILL")
    finally:
        stop_dev(process)
