"""A few training steps in a process of its own: how fast they are, and how much memory they take at most.

`python -m medpipe.pretrain.trial` reads a lake, a plan and a snapshot and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan, CompiledStage, compile_plan
from medpipe.pretrain.launch import trainer_environment
from medpipe.pretrain.plan import load_plan
from medpipe.tokens.snapshot import read_snapshot

if TYPE_CHECKING:
    from medpipe.pretrain.dataset import StageData
    from medpipe.pretrain.model import Compute


_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class TrialError(RuntimeError):
    """The trial did not come to its end; the message tells why."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was measured."""

    device: str
    precision: str
    threads: int
    steps: int
    """Steps that were timed; one before them was not."""
    tokens_per_second: float
    """Token positions scheduled over the median step."""
    peak_bytes: int
    """Most memory beyond what the process had before the model was built; of the device, on CUDA."""


def run_trial(lake: Path, plan: Path, snapshot: str, *, steps: int, timeout: float = 3600.0) -> Trial:
    """Trains some steps of the plan's first stage in another process; nothing is kept of them.

    Raises:
        TrialError: the process failed or took longer than `timeout` seconds.
    """
    command = [
        *(sys.executable, "-m", "medpipe.pretrain.trial"),
        *("--lake", str(lake), "--plan", str(plan), "--snapshot", snapshot, "--steps", str(steps)),
    ]
    environment = {**os.environ, **trainer_environment()}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise TrialError(f"{steps} steps took more than {timeout:g} s; measure fewer steps") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise TrialError(f"the trial of {steps} steps failed: {last[0]}")
    return Trial(**json.loads(done.stdout.splitlines()[-1]))


def measure(compiled: CompiledPlan, lake: Lake, *, steps: int) -> Trial:
    """Times steps of the first stage that the plan trains, in this process; torch is loaded."""
    import torch

    from medpipe.pretrain.dataset import StageData
    from medpipe.pretrain.model import device_and_precision
    from medpipe.pretrain.training import Training
    from medpipe.tokens.shard import open_shards

    plan = compiled.plan
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    stage = next(stage for stage in compiled.stages if stage.taken_from is None)
    opened = {
        (s.domain, s.source, s.name): s.tokens
        for s in open_shards(lake, read_snapshot(lake, compiled.snapshot), split="train")
    }
    data = StageData(
        stage,
        [opened[shard.domain, shard.source, shard.name] for shard in stage.shards],
        seed=plan.seed,
        eos_id=compiled.tokenizer.eos_id,
    )
    compute = device_and_precision(plan)
    _load_libraries(compiled, stage, data, compute)
    _forget_peak()
    before = _resident_bytes()
    training = Training.begin(compiled, stage, data=data, compute=compute)
    seconds = []
    for _ in range(min(steps + 1, stage.steps)):
        began = time.perf_counter()
        training.train_step()
        seconds.append(time.perf_counter() - began)
    timed = seconds[1:] or seconds
    is_cuda = compute.device.type == "cuda"
    return Trial(
        device=compute.device.type,
        precision=compute.precision.value,
        threads=torch.get_num_threads(),
        steps=len(timed),
        tokens_per_second=plan.tokens_per_step / statistics.median(timed),
        peak_bytes=torch.cuda.max_memory_allocated() if is_cuda else _peak_bytes() - before,
    )


def _load_libraries(compiled: CompiledPlan, stage: CompiledStage, data: StageData, compute: Compute) -> None:
    """Takes a step of a very small model, so that what torch loads is not taken for the model's."""
    from medpipe.pretrain.loss import batch_loss
    from medpipe.pretrain.model import build_model
    from medpipe.pretrain.optimizer import build_optimizer

    shape = compiled.shape.model_copy(
        update={
            "hidden_size": 8,
            "layers": 1,
            "heads": 2,
            "kv_heads": 1,
            "head_dim": 4,
            "intermediate_size": 8,
        }
    )
    plan = compiled.plan.model_copy(update={"model": shape, "start_from": None})
    model = build_model(plan, compiled.tokenizer, compute)
    optimizer = build_optimizer(model, plan.optimizer)
    batch = data.read(data.samples(0, 1))
    batch_loss(model, compute, batch, micro_batch=1)
    optimizer.step()


def _resident_bytes() -> int:
    """Memory that this process holds now; what it has held at most where the system does not say."""
    return _status("VmRSS") or _peak_bytes()


def _peak_bytes() -> int:
    """Most memory that this process has held since `_forget_peak`."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or (peak if sys.platform == "darwin" else peak * 1024)


def _forget_peak() -> None:
    """Sets the high-water mark back to what is held now: loading libraries took more for a moment."""
    with contextlib.suppress(OSError):
        _CLEAR_REFS.write_text("5")


def _status(name: str) -> int | None:
    """A size from Linux' status of this process, in bytes."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
    return found[0] * 1024 if found else None


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m medpipe.pretrain.trial")
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--snapshot", required=True)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args(arguments)
    lake = Lake(options.lake)
    compiled = compile_plan(load_plan(options.plan), read_snapshot(lake, options.snapshot), lake)
    print(json.dumps(asdict(measure(compiled, lake, steps=options.steps))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
