"""Batches a core makes from warm shards, and how long a large set takes to open: `python -m bench.stream`."""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

from bench.rounds import Run, Side, add_value, alternate
from bench.stream_inputs import write_random, write_sparse
from bench.stream_sides import RANDOM, SNAPSHOT, SPARSE
from bench.work_folder import work_folder

SCRIPT = "stream"
SIZES = ((128, 16), (1024, 16), (1024, 256))
"""Window length and windows a batch: the demo's, a micro batch of `mini` and a step of it."""
SHARDS, TOKENS = 24, 4_000_000


def sides() -> tuple[Side, ...]:
    """medpipe and nanoGPT's reader at each size, and the large set."""
    module = "bench.stream_sides"
    sized = [
        Side(f"{name} {length} x {sequences}", module, (side, str(length), str(sequences)))
        for length, sequences in SIZES
        for name, side in (("medpipe", "batches"), ("nanoGPT", "nano_gpt"))
    ]
    large = [Side(name, module, (name, "1024", "256")) for name in ("open", "lay_out")]
    return (*sized, *large)


def compare(folder: Path, *, rounds: int, gigabytes: float, tokens: int = TOKENS) -> dict[str, list[Run]]:
    """Runs all sides in turn."""
    (folder / RANDOM).mkdir(exist_ok=True)
    write_random(folder / RANDOM, shards=SHARDS, tokens=tokens)
    _, snapshot = write_sparse(folder / SPARSE, gigabytes=gigabytes)
    (folder / SNAPSHOT).write_text(snapshot.model_dump_json())
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for side, run, _ in alternate(sides(), folder, rounds=rounds, script=SCRIPT, about={}):
        found[side.name].append(run)
    return dict(found)


def report(found: dict[str, list[Run]]) -> None:
    """Appends the figures."""

    def median(side: str, value: str) -> float:
        return statistics.median(run[value] for run in found[side])

    for length, sequences in SIZES:
        name = f"{length} x {sequences}"
        add_value(
            f"stream, batches of {name}, tokens a second of a core",
            median(f"medpipe {name}", "tokens_per_cpu_second"),
            peer=median(f"nanoGPT {name}", "tokens_per_cpu_second"),
            peer_name="nanoGPT's random windows",
            unit="tokens/s",
            target=">= 20 M tokens/s",
        )
    add_value(
        f"opening {median('open', 'gigabytes'):.0f} GB of shards",
        median("open", "open_seconds"),
        peer=median("open", "shards"),
        peer_name="shards",
        unit="s",
        target="< 1 s",
    )
    add_value(
        "laying out an epoch of them, 1,024 tokens a window",
        median("lay_out", "lay_out_seconds") + median("lay_out", "first_batch_seconds"),
        peer=median("lay_out", "windows"),
        peer_name="windows",
        unit="s",
        target="",
    )


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where inputs are made and kept; else a temporary folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=100, help="of the sparse set")
    chosen = parser.parse_args()
    with work_folder(chosen.folder) as folder:
        report(compare(folder, rounds=chosen.rounds, gigabytes=chosen.gigabytes))


if __name__ == "__main__":
    main()
