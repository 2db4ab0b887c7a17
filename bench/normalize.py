"""Normalising disease records beside `datasets.map`: `python -m bench.normalize [--records N] [--rounds R]`.

Both sides read the same JSON lines, render the fields, clean, fold and hash the content key, and write
Parquet; medpipe also writes provenance, ids, rejected rows and digests. Runs alternate and medians count, for
machines are noisy. Texts and keys of both sides are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from bench.disease_records import INPUTS, RECORDS, Input, write_records
from bench.figures import Figure, append
from bench.sides import Run, measure, texts_and_keys

PEER = "datasets.map, 2 processes"
TARGET, MEMORY_TARGET = 4.0, 1.1
MEMORY_FACTOR = 4
"""How many times as long the input of the second run for memory is."""


def compare(chosen: Input, *, records: int, rounds: int, scratch: Path) -> None:
    """Measures both sides on one input and notes the ratio.

    Raises:
        RuntimeError: a side failed, or the two wrote different texts or keys.
    """
    path = scratch / f"{chosen.name}.jsonl"
    write_records(chosen, path, records=records)
    runs: dict[str, list[Run]] = {"medpipe": [], "datasets": []}
    for number in range(rounds):
        written = {}
        for side, done in runs.items():
            folder = scratch / f"{chosen.name}-{side}-{number}"
            folder.mkdir()
            done.append(measure(side, chosen, path, folder))
            written[side] = texts_and_keys(folder)
            print(f"{chosen.name} {side}: {done[-1].seconds:.1f} s, {done[-1].peak_megabytes:,.0f} MB")
        if not written["medpipe"].equals(written["datasets"]):
            raise RuntimeError(f"{chosen.name}: the two sides wrote different texts or keys")
    rates = {side: statistics.median(records / run.seconds for run in done) for side, done in runs.items()}
    append(
        Figure(
            figure=f"normalise {chosen.name}",
            medpipe=rates["medpipe"],
            peer=rates["datasets"],
            peer_name=PEER,
            unit="records/s",
            ratio=rates["medpipe"] / rates["datasets"],
            target=f">= {TARGET:g}",
        )
    )


def compare_memory(chosen: Input, *, records: int, scratch: Path) -> None:
    """Peak memory of medpipe on an input and on one that is some times as long."""
    peaks = []
    for factor in (1, MEMORY_FACTOR):
        path = scratch / f"memory-{factor}.jsonl"
        write_records(chosen, path, records=factor * records)
        folder = scratch / f"memory-{factor}"
        folder.mkdir()
        peaks.append(measure("medpipe", chosen, path, folder).peak_megabytes)
        path.unlink()
    append(
        Figure(
            figure=f"peak memory, {chosen.name}, {MEMORY_FACTOR} x the input",
            medpipe=peaks[1],
            peer=peaks[0],
            peer_name="the input once",
            unit="MB",
            ratio=peaks[1] / peaks[0],
            target=f"<= {MEMORY_TARGET:g}",
        )
    )


def main() -> None:
    """Runs the comparison on all inputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=60_000, help="records of each input")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side")
    chosen = parser.parse_args()
    if not RECORDS.is_dir():
        sys.exit(f"the real records are not there: put them at {RECORDS}")
    with tempfile.TemporaryDirectory(prefix="medpipe-bench-") as folder:
        for each in INPUTS:
            compare(each, records=chosen.records, rounds=chosen.rounds, scratch=Path(folder))
        compare_memory(INPUTS[0], records=chosen.records // 2, scratch=Path(folder))


if __name__ == "__main__":
    main()
