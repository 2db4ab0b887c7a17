"""transformers' Trainer on the same model and batch: `python -m bench.peers.hf_trainer PRECISION INPUTS OUT`.

Windows of the training tokens end to end, as `run_clm.py` of transformers cuts them: no document mask, no
padding. Nothing is saved or evaluated; metrics are logged as often as medpipe's. The data lies in memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from bench.clock import timed
from bench.peers.llama import llama_config
from bench.training_clock import StepClock
from bench.training_inputs import TrainingInputs

LOG_EVERY = 4


class Windows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Windows of equal length."""

    def __init__(self, tokens: np.ndarray[Any, Any], length: int) -> None:
        whole = len(tokens) // length * length
        self._rows = torch.from_numpy(tokens[:whole].astype(np.int64)).view(-1, length)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self._rows[index], "labels": self._rows[index]}


class Clocked(TrainerCallback):
    """Tells the clock when a step begins."""

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._clock.begin()


def run(inputs: TrainingInputs, precision: str, output: Path) -> dict[str, Any]:
    """Trains and says how fast."""
    facts, work = inputs.facts, inputs.work
    torch.set_num_threads(facts["threads"])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(llama_config(facts))
    length = facts["sequence_length"]
    clock = StepClock(warm_steps=work.warm_steps, steps=work.steps, tokens_per_step=work.sequences * length)
    arguments = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=work.sequences,
        max_steps=work.all_steps,
        learning_rate=facts["peak_learning_rate"],
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=2,
        weight_decay=0.1,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        use_cpu=True,
        save_strategy="no",
        eval_strategy="no",
        logging_steps=LOG_EVERY,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=0,
    )
    tokens = np.fromfile(inputs.tokens, dtype="<u2")
    trainer = Trainer(
        model=model, args=arguments, train_dataset=Windows(tokens, length), callbacks=[Clocked(clock)]
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {**clock.found(), "precision": precision, "loss_first": losses[0], "loss_last": losses[-1]}


def main() -> None:
    """Runs the side."""
    precision, inputs, output = sys.argv[1:]
    chosen = TrainingInputs(Path(inputs))
    timed(lambda: run(chosen, precision, Path(output)), packages=("torch", "transformers", "accelerate"))


if __name__ == "__main__":
    main()
