"""Times of the daily workplace: `python -m bench.workplace [--rounds R]`, on the sample corpus.

How long the definitions take to load, how long `medpipe dev` takes until its UI answers, what the idle
platform holds in memory, how long a click takes until the run's first step, and a run of the whole graph
(training and evaluation too) in which nothing changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.options import add_arguments, work_folder
from bench.rounds import ROOT, add_value, keep
from medpipe.sample.generate import generate
from medpipe_tests.operate.dev import ask, launch, start_dev, status_of, stop_dev, wait_for, wait_until_served

SCRIPT = "workplace"
DAGSTER, MLFLOW = 3123, 5123
ADDRESS = f"http://127.0.0.1:{DAGSTER}"
LOADING = """
import json, sys, time
begin = time.perf_counter()
import medpipe.definitions
print(json.dumps({"seconds": time.perf_counter() - begin, "torch": "torch" in sys.modules}))
"""
EVENTS = """
query($id: ID!) {
  logsForRun(runId: $id, limit: 1000) {
    ... on EventConnection { events { __typename ... on MessageEvent { timestamp } } }
  }
  runOrError(runId: $id) { ... on Run { startTime endTime } }
}
"""


@contextlib.contextmanager
def workplace(home: Path) -> Iterator[float]:
    """`medpipe dev` on the sample; yields the seconds until its UI answers."""
    generate(home / "sample")
    begin = time.perf_counter()
    process = start_dev(home, dagster=DAGSTER, mlflow=MLFLOW, MEDPIPE_HUB=str(home / "sample"))
    try:
        wait_until_served(home, ADDRESS, process)
        yield time.perf_counter() - begin
    finally:
        stop_dev(process)


def memory_of(home: Path) -> dict[str, float]:
    """Megabytes by program; memory that processes share is counted once (proportional set size)."""
    found: dict[str, float] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MEDPIPE_HOME") == str(home):
                words = [Path(word).name for word in process.cmdline()[:6] if not word.startswith("-")]
                name = " ".join(words[1:3])
                found[name] = found.get(name, 0.0) + process.memory_full_info().pss / 1e6
    return found


def run_job(job: str) -> dict[str, float]:
    """Launches a job as a click does; seconds to its first step, and from its start to its end.

    Raises:
        RuntimeError: it fails.
    """
    clicked = time.time()
    run = launch(ADDRESS, job)

    def ended() -> str | None:
        status = status_of(ADDRESS, run)
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    if (status := wait_for(ended, seconds=1800, what=f"the end of {job}")) != "SUCCESS":
        raise RuntimeError(f"{job} ended with {status}")
    done = ask(ADDRESS, EVENTS, id=run)
    events, times = done["logsForRun"]["events"], done["runOrError"]
    first = min(int(e["timestamp"]) for e in events if e["__typename"] == "ExecutionStepStartEvent") / 1000
    return {"to_first_step": first - clicked, "seconds": times["endTime"] - times["startTime"]}


def load_definitions(home: Path) -> float:
    """Seconds that a fresh process takes.

    Raises:
        RuntimeError: they import torch.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MEDPIPE_HOME": str(home)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", LOADING], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    if found["torch"]:
        raise RuntimeError("the definitions import torch")
    return float(found["seconds"])


def main() -> None:
    """Measures, and appends the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=60, help="rest before memory is read")
    chosen = parser.parse_args()
    with work_folder(chosen.folder) as folder:
        home = (folder / "workplace").resolve()
        loads = [load_definitions(home) for _ in range(chosen.rounds + 1)][1:]
        print(f"definitions: {statistics.median(loads):.2f} s", flush=True)
        with workplace(home) as started:
            print(f"medpipe dev answers after {started:.1f} s", flush=True)
            time.sleep(chosen.idle_seconds)
            idle = memory_of(home)
            for name, megabytes in sorted(idle.items(), key=lambda item: -item[1]):
                print(f"  {megabytes:6.0f} MB  {name}", flush=True)
            first = run_job("full_pipeline")
            print(f"first run of the whole graph: {first}", flush=True)
            again = [run_job("full_pipeline") for _ in range(chosen.rounds)]
            print(f"again: {again}", flush=True)
    clicks = statistics.median(each["to_first_step"] for each in [first, *again])
    unchanged = statistics.median(each["seconds"] for each in again)
    keep(SCRIPT, {"loads": loads, "started": started, "idle": idle, "first": first, "again": again})
    for figure, value, unit, target in (
        ("definitions load", statistics.median(loads), "s", "<= 1.5 s"),
        ("medpipe dev until the UI answers", started, "s", ""),
        ("memory of the idle platform", sum(idle.values()), "MB", ""),
        ("click to first step", clicks, "s", ""),
    ):
        add_value(figure, value, peer=0.0, peer_name="", unit=unit, target=target)
    add_value(
        "whole graph, nothing changed",
        unchanged,
        peer=first["seconds"],
        peer_name="its first run",
        unit="s",
        target="",
    )


if __name__ == "__main__":
    main()
