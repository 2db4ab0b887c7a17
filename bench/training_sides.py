"""medpipe's loop, and a bare one with the same kernels.

`python -m bench.training_sides SIDE MODE INPUTS OUT`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from bench.clock import timed
from bench.training_clock import StepClock
from bench.training_inputs import STAGE, TrainingInputs
from medpipe.pretrain.batch import IGNORED
from medpipe.pretrain.dataset import StageData, batch_tensors
from medpipe.pretrain.loop import train
from medpipe.pretrain.model import device_and_precision, logits_of
from medpipe.pretrain.stop import StopRequest
from medpipe.pretrain.training import Training
from medpipe.tokens.shard import open_shards
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tracking.spool import Spool, read_events


def begin(inputs: TrainingInputs, mode: str) -> Training:
    """The stage at its first step, as the trainer prepares it."""
    compiled = inputs.plan(compiled_blocks=mode == "compiled")
    stage = compiled.stage(STAGE)
    torch.set_num_threads(compiled.plan.threads or torch.get_num_threads())
    opened = {
        (s.domain, s.source, s.name): s.tokens
        for s in open_shards(inputs.lake, read_snapshot(inputs.lake), split="train")
    }
    data = StageData(
        stage,
        [opened[s.domain, s.source, s.name] for s in stage.shards],
        seed=compiled.plan.seed,
        eos_id=compiled.tokenizer.eos_id,
    )
    return Training.begin(compiled, stage, data=data, compute=device_and_precision(compiled.plan))


def clock_of(inputs: TrainingInputs) -> StepClock:
    """The clock for the bench's work."""
    work = inputs.work
    return StepClock(
        warm_steps=work.warm_steps,
        steps=work.steps,
        tokens_per_step=work.sequences * inputs.facts["sequence_length"],
    )


def loop_side(inputs: TrainingInputs, mode: str, output: Path) -> dict[str, Any]:
    """`train()` with all that it does: data, metrics to the spool, checkpoints to the disk."""
    training, clock = begin(inputs, mode), clock_of(inputs)
    step = training.train_step

    def counted() -> Any:
        clock.begin()
        return step()

    training.train_step = counted  # type: ignore[method-assign]
    with Spool(output / "spool.jsonl") as spool:
        train(
            training,
            checkpoints=output / "run" / "checkpoints",
            spool=spool,
            progress=lambda _: None,
            stop=StopRequest(),
            measure=dict,
        )
    return {
        **clock.found(),
        "precision": training.compute.precision.value,
        "loss_first": training.loss_first,
        "loss_last": training.loss_last,
        "milliseconds": _laps(output / "spool.jsonl", inputs.work.warm_steps),
    }


def _laps(spool: Path, warm_steps: int) -> dict[str, float]:
    """Milliseconds a step by part, over the counted steps."""
    totals: dict[str, float] = {}
    before = counted = 0
    for event in read_events(spool):
        if event.kind != "metrics":
            continue
        steps, before = event.step - before, event.step
        if event.step > warm_steps:
            counted += steps
            for name, value in event.values.items():
                if name.startswith("time/"):
                    totals[name] = totals.get(name, 0.0) + value * steps
    return {name: total / counted for name, total in totals.items()}


def bare_side(inputs: TrainingInputs, mode: str, output: Path) -> dict[str, Any]:
    """Forward, backward and step on one batch in memory; nothing else."""
    training, clock, work = begin(inputs, mode), clock_of(inputs), inputs.work
    batch = training.data.read(training.data.samples(0, work.sequences))
    tensors = batch_tensors(batch, training.compute.device)
    targets = tensors.pop("targets").flatten()
    loss = torch.zeros(())
    for _ in range(work.all_steps):
        clock.begin()
        training.optimizer.zero_grad(set_to_none=True)
        logits = logits_of(training.forward, training.compute, **tensors)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORED)
        loss.backward()  # type: ignore[no-untyped-call]
        training.optimizer.step()
    return {**clock.found(), "precision": training.compute.precision.value, "loss_last": loss.item()}


SIDES = {"loop": loop_side, "bare": bare_side}


def main() -> None:
    """Runs one side."""
    side, mode, inputs, output = sys.argv[1:]
    chosen = TrainingInputs(Path(inputs))
    timed(lambda: SIDES[side](chosen, mode, Path(output)), packages=("torch", "transformers"))


if __name__ == "__main__":
    main()
