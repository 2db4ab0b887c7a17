"""Each side of the stream's bench, in a process of its own.

`python -m bench.stream_sides {batches,nano_gpt,open,lay_out} LENGTH SEQUENCES INPUTS OUT`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.clock import timed
from bench.stream_inputs import SHARD_TOKENS, read_all, stage_of
from medpipe.lake.layout import Lake
from medpipe.pretrain.dataset import StageData
from medpipe.tokens.shard import open_shards
from medpipe.tokens.snapshot import CorpusSnapshot

SECONDS = 3.0
"""For which batches are made."""
RANDOM, SPARSE, SNAPSHOT = "random", "sparse", "sparse.json"


def _batches(make: Callable[[int], Any], steps: int, tokens: int) -> dict[str, float]:
    """Tokens a second of wall clock and of processor time, in one thread."""
    make(0)
    began, began_cpu, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < SECONDS:
        for step in range(done, done + 10):
            make(step % steps)
        done += 10
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    return {"tokens_per_second": done * tokens / seconds, "tokens_per_cpu_second": done * tokens / cpu}


def batches(inputs: Path, length: int, sequences: int) -> dict[str, float]:
    """Batches of a stage, the four arrays each, as the loop reads them."""
    shards = read_all(sorted((inputs / RANDOM).glob("*.bin")))
    stage: Any = stage_of([len(shard) for shard in shards], length=length, sequences=sequences)
    order = [shard for n in range(6) for shard in shards[n::6]]
    data = StageData(stage, order, seed=1, eos_id=0)

    def make(step: int) -> None:
        data.read(data.samples(step * sequences, (step + 1) * sequences))

    return _batches(make, len(data) // sequences, length * sequences)


def nano_gpt(inputs: Path, length: int, sequences: int) -> dict[str, float]:
    """nanoGPT's random windows of one file: inputs and targets, no documents."""
    from bench.peers.nano_gpt import read_batch

    path = sorted((inputs / RANDOM).glob("*.bin"))[0]
    read_all([path])
    return _batches(lambda _: read_batch(path, sequences, length), 1, length * sequences)


def open_set(inputs: Path, length: int, sequences: int) -> dict[str, float]:
    """Opens every shard of the large set."""
    snapshot = CorpusSnapshot.model_validate_json((inputs / SNAPSHOT).read_text())
    began = time.perf_counter()
    shards = open_shards(Lake(inputs / SPARSE), snapshot, split="train")
    seconds = time.perf_counter() - began
    return {
        "open_seconds": seconds,
        "gigabytes": sum(shard.tokens.nbytes for shard in shards) / 1e9,
        "shards": float(len(shards)),
        "last_ids": float(sum(int(shard.tokens[-1]) for shard in shards)),
    }


def lay_out(inputs: Path, length: int, sequences: int) -> dict[str, float]:
    """Lays out one epoch of the large set, and makes the first batch."""
    files = sorted((inputs / SPARSE).rglob("*.bin"))
    stage: Any = stage_of([SHARD_TOKENS] * len(files), length=length, sequences=sequences)
    order = [np.memmap(path, dtype=np.uint16, mode="r") for n in range(6) for path in files[n::6]]
    began = time.perf_counter()
    data = StageData(stage, order, seed=1, eos_id=0)
    laid_out = time.perf_counter()
    data.read(data.samples(0, sequences))
    return {
        "windows": float(len(data)),
        "lay_out_seconds": laid_out - began,
        "first_batch_seconds": time.perf_counter() - laid_out,
    }


SIDES = {"batches": batches, "nano_gpt": nano_gpt, "open": open_set, "lay_out": lay_out}


def main() -> None:
    """Runs one side."""
    side, length, sequences, inputs, _ = sys.argv[1:]
    torch.set_num_threads(1)
    timed(lambda: SIDES[side](Path(inputs), int(length), int(sequences)), packages=("numpy", "numba"))


if __name__ == "__main__":
    main()
