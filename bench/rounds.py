"""Runs of several sides in fresh processes, one after the other in turn, and what is kept of them."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.clock import MARK
from bench.figures import LATEST, Figure, append

PEERS_PYTHON = "MEDPIPE_BENCH_PEERS_PYTHON"
TIMEOUT = 3_600
"""Seconds for a run."""
ROOT = Path(__file__).resolve().parents[1]

Run = dict[str, Any]
"""What `bench.clock.timed` printed."""


@dataclass(frozen=True)
class Side:
    """Something that does the work."""

    name: str
    module: str
    """Module that is run, with the arguments, the inputs' folder and a folder for its output."""
    arguments: tuple[str, ...] = ()
    needs: str | None = None
    """A package that may be in the peers' environment alone."""
    rounds: int | None = None
    """Runs, if fewer than of the others."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that its own launcher sets."""


class SideMissing(Exception):
    """A side cannot be run here; the message says why."""


def python_with(package: str | None) -> str:
    """This Python if it has the package, else the one that the environment names."""
    if package is None or importlib.util.find_spec(package) is not None:
        return sys.executable
    return os.environ.get(PEERS_PYTHON) or sys.executable


def has_peer(package: str) -> bool:
    """Whether a package can be imported by the Python that it would be run with."""
    done = subprocess.run([python_with(package), "-c", f"import {package}"], capture_output=True, timeout=120)
    return done.returncode == 0


def run(side: Side, inputs: Path, output: Path, *arguments: str) -> Run:
    """Runs one side in a fresh process.

    Raises:
        SideMissing: it is a peer whose packages are not there.
        RuntimeError: it failed.
    """
    python = python_with(side.needs)
    command = [python, "-m", side.module, *side.arguments, *arguments, str(inputs), str(output)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        # Its own workers are two processes; threads besides would be more than two workers.
        "TOKENIZERS_PARALLELISM": "false",
        **dict(side.environment),
    }
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT
    )
    if side.needs and "ModuleNotFoundError" in done.stderr:
        raise SideMissing(f"{side.name}: {done.stderr.strip().splitlines()[-1]} ({python})")
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"{side.name} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(lines[-1].removeprefix(MARK)))


def alternate(
    sides: Sequence[Side], inputs: Path, *, rounds: int, script: str, about: Mapping[str, Any]
) -> Iterator[tuple[Side, Run, Path]]:
    """Runs the sides in turn, the order reversed from round to round, and keeps a raw row of each run.

    Yields the side, what it took and the folder with its output, which is gone afterwards. A peer that is
    not there is left out, and it is said why.
    """
    missing: set[str] = set()
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            if side.name in missing or (side.rounds is not None and number >= side.rounds):
                continue
            output = Path(tempfile.mkdtemp(prefix="medpipe-bench-", dir=inputs))
            try:
                load = os.getloadavg()
                done = run(side, inputs, output)
                keep(script, {"side": side.name, "round": number, "load": load, **about, **done})
                print(f"{script}, round {number + 1}: {side.name}: {done['seconds']:.2f} s", flush=True)
                yield side, done, output
            except SideMissing as error:
                missing.add(side.name)
                print(f"left out: {error}", flush=True)
            finally:
                shutil.rmtree(output, ignore_errors=True)


def keep(script: str, row: Mapping[str, Any]) -> None:
    """Appends a raw row to `results/<script>.jsonl`."""
    path = LATEST.with_name(f"{script}.jsonl")
    path.parent.mkdir(exist_ok=True)
    machine = {"time": datetime.now(UTC).isoformat(), "machine": platform.machine(), "cores": os.cpu_count()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**machine, **row}, ensure_ascii=False) + "\n")


def compare_rates(
    figure: str, rates: Mapping[str, Sequence[float]], *, targets: Mapping[str, str], unit: str = "MB/s"
) -> None:
    """Appends a figure for every peer: medians, and the ratio of medpipe's to the peer's.

    Args:
        figure: its name.
        rates: of each run, by side; `medpipe` is one.
        targets: what the ratio should be, by peer; "" where nothing is asked for.
        unit: of the rates.
    """
    for peer, found in rates.items():
        if peer != "medpipe" and found:
            ours, theirs = statistics.median(rates["medpipe"]), statistics.median(found)
            append(Figure(figure, ours, theirs, peer, unit, ours / theirs, targets.get(peer, "")))


def add_value(figure: str, value: float, *, peer: float, peer_name: str, unit: str, target: str) -> None:
    """Appends a figure whose target is about medpipe's value and not about the ratio."""
    append(Figure(figure, value, peer, peer_name, unit, value / peer if peer else 0.0, target))
