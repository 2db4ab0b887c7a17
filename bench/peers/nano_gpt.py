"""nanoGPT's way of training, written for the bench from its description.

`python -m bench.peers.nano_gpt MODEL PRECISION MODE INPUTS OUT`

A GPT-2 (LayerNorm and linear layers without bias, learned positions, GELU, causal attention through
scaled_dot_product_attention, tied embeddings) of as many parameters a block as the bench's Llama, or that
Llama itself. Random windows of one stream of uint16 ids, mapped anew for each batch; the next batch is read
after the forward pass; AdamW with decay on matrices only, clipping at 1, the rate set at each step, the loss
read every ten steps. Its trainer uses fp32 on a CPU, and compiles the whole model unless told otherwise.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.clock import timed
from bench.peers.llama import llama_config
from bench.training_clock import StepClock
from bench.training_inputs import TrainingInputs

LOG_EVERY = 10


class Block(nn.Module):
    """Attention and a GELU layer, each after a LayerNorm and added to its input."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.attention = nn.Linear(width, 3 * width, bias=False)
        self.joined = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attention(self.norm_1(x)).split(width, dim=2)
        q, k, v = (p.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.joined(y.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class Gpt(nn.Module):
    """A GPT-2 with tied embeddings."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        model, width = facts["model"], facts["model"]["hidden_size"]
        self.tokens = nn.Embedding(facts["vocabulary_size"], width)
        self.positions = nn.Embedding(facts["sequence_length"], width)
        self.blocks = nn.ModuleList(
            Block(width, model["heads"], inner_width(model)) for _ in range(model["layers"])
        )
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, facts["vocabulary_size"], bias=False)
        self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


def inner_width(model: dict[str, Any]) -> int:
    """Width of the GELU layer that gives a block as many parameters as one of the Llama's."""
    width = model["hidden_size"]
    shared = width * width * 2 * model["kv_heads"] // model["heads"]
    llama = 2 * width * width + shared + 3 * width * model["intermediate_size"]
    return int((llama - 4 * width * width) // (2 * width))


class Llama(nn.Module):
    """transformers' Llama, with the loss of the GPT."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_config(llama_config(facts))

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        logits = self.model(input_ids=ids, use_cache=False).logits
        return functional.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


def read_batch(path: Path, sequences: int, length: int) -> tuple[Tensor, Tensor]:
    """Windows at random places, with the same a token later as targets."""
    data = np.memmap(path, dtype=np.uint16, mode="r")
    places = torch.randint(len(data) - length, (sequences,))
    x = torch.stack([torch.from_numpy(data[i : i + length].astype(np.int64)) for i in places])
    y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + length].astype(np.int64)) for i in places])
    return x, y


def build_optimizer(model: nn.Module, rate: float) -> torch.optim.AdamW:
    """AdamW, decay on matrices and embeddings only; it fuses on CUDA alone."""
    named = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in named if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in named if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def run(inputs: TrainingInputs, kind: str, precision: str, mode: str) -> dict[str, Any]:
    """Trains and says how fast."""
    facts, work = inputs.facts, inputs.work
    torch.set_num_threads(facts["threads"])
    torch.manual_seed(1337)
    length = facts["sequence_length"]
    plain: nn.Module = Gpt(facts) if kind == "gpt" else Llama(facts)
    optimizer = build_optimizer(plain, facts["peak_learning_rate"])
    model: Any = torch.compile(plain) if mode == "compiled" else plain
    context: contextlib.AbstractContextManager[Any] = (
        torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    )
    clock = StepClock(warm_steps=work.warm_steps, steps=work.steps, tokens_per_step=work.sequences * length)
    x, y = read_batch(inputs.tokens, work.sequences, length)
    losses: list[float] = []
    for step in range(work.all_steps):
        clock.begin()
        rate = facts["peak_learning_rate"] * min(1.0, (step + 1) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with context:
            loss = model(x, y)
        x, y = read_batch(inputs.tokens, work.sequences, length)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % LOG_EVERY == 0 or step == work.all_steps - 1:
            losses.append(loss.item())
    return {
        **clock.found(),
        "precision": precision,
        "parameters": sum(p.numel() for p in plain.parameters()),
        "loss_first": losses[0],
        "loss_last": losses[-1],
    }


def main() -> None:
    """Runs the side."""
    kind, precision, mode, inputs, _ = sys.argv[1:]
    chosen = TrainingInputs(Path(inputs))
    timed(lambda: run(chosen, kind, precision, mode), packages=("torch", "transformers"))


if __name__ == "__main__":
    main()
