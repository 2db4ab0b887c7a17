"""Each side's run, in a process of its own: `python -m bench.sides SIDE INPUT FILE FOLDER`."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.disease_records import Input, input_of

WORKERS = 2
"""Processes of the peer, as many as medpipe has threads."""


@dataclass(frozen=True)
class Run:
    """What one run took."""

    seconds: float
    cpu_seconds: float
    """Of the process and of those that it started."""
    records: int
    peak_megabytes: float
    """Largest resident memory of the process."""


def measure(side: str, chosen: Input, path: Path, folder: Path) -> Run:
    """Runs one side on a file of records in a fresh process; what it writes lies in `folder` afterwards."""
    command = [sys.executable, "-m", "bench.sides", side, chosen.name, str(path), str(folder)]
    environment = {**os.environ, "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{side} failed on {chosen.name}:\n{done.stderr[-2000:]}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def texts_and_keys(folder: Path) -> pl.DataFrame:
    """The texts and content keys that a side wrote, in the order of the input."""
    parts = sorted(folder.rglob("part-*.parquet"))
    parts = [part for part in parts if part.parent.name != "rejected"]
    return pl.concat([pl.read_parquet(part, columns=["text", "content_key"]) for part in parts])


Side = Callable[[], int]
"""Does the work and returns how many records came out."""


def medpipe_side(chosen: Input, path: Path, folder: Path) -> Side:
    """Everything that the asset `normalized/<source>` does: provenance, rejects, digests and Parquet too."""
    from medpipe.catalog.source import Source
    from medpipe.lake.dataset import Dataset
    from medpipe.lake.layout import Lake
    from medpipe.lake.manifest import Manifest, Recipe
    from medpipe.normalize.run import normalize_source

    for module in ("normalize.field_kernel", "normalize.layouts.field_lines", "records.schemas"):
        importlib.import_module(f"medpipe.{module}")
    entry: dict[str, Any] = {
        "id": "bench",
        "title": chosen.name,
        "description": "Repeated records.",
        "folder": ".",
        "files": [{"path": path.name, "format": "jsonl", "domain": "disease"}],
        "kind": "document",
        "layout": {"layout": "fields", "expand": chosen.expand},
        "language": "zh",
        "licence": {"name": None},
        "uses": ["pretraining"],
    }
    manifest = Manifest(
        room="raw",
        name="bench",
        digest="bench",
        recipe=Recipe(inputs={}, code_version="1"),
        rows=0,
        bytes=0,
        files=(),
    )
    raw = Dataset(path.parent, manifest)
    source = Source.model_validate(entry)
    return lambda: normalize_source(source, raw, lake=Lake(folder)).dataset.manifest.rows


def datasets_side(chosen: Input, path: Path, folder: Path) -> Side:
    """`load_dataset`, one batched `map` in `WORKERS` processes, `to_parquet`."""
    import datasets

    from bench.plain_python import normalize

    def work() -> int:
        loaded = datasets.load_dataset(
            "json", data_files=str(path), cache_dir=str(folder / "cache"), split="train"
        )
        mapped = loaded.map(
            normalize,
            batched=True,
            num_proc=WORKERS,
            remove_columns=loaded.column_names,
            fn_kwargs={"expand": frozenset(chosen.expand)},
        )
        mapped.to_parquet(folder / "part-00000.parquet")
        return len(mapped)

    return work


SIDES = {"medpipe": medpipe_side, "datasets": datasets_side}


def _peak_megabytes() -> float:
    # getrusage would also count what the process that started this one held.
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1_000


if __name__ == "__main__":
    side, name, file, target = sys.argv[1:]
    work = SIDES[side](input_of(name), Path(file), Path(target))
    started, cpu_before = time.perf_counter(), sum(os.times()[:4])
    count = work()
    seconds = time.perf_counter() - started
    run = Run(
        seconds=seconds,
        cpu_seconds=sum(os.times()[:4]) - cpu_before,
        records=count,
        peak_megabytes=_peak_megabytes(),
    )
    print(json.dumps(asdict(run)))
