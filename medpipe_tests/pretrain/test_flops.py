"""Arithmetic of a step, against a count by hand and against torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.flops import flops_per_token, peak_flops
from medpipe.pretrain.model import Compute, build_model, count_parameters, logits_of
from medpipe.pretrain.plan import Precision

FP32 = Compute(torch.device("cpu"), Precision.FP32)


def test_close_to_what_torch_counts(compiled: CompiledPlan) -> None:
    """Torch leaves norms out and counts attention dense, as the rule does."""
    model = build_model(compiled.plan, compiled.tokenizer, FP32)
    # Torch counts no attention kernel of the CPU; written out as matrix products it does.
    model.set_attn_implementation("eager")  # type: ignore[operator]
    length = compiled.plan.sequence_length
    tokens = torch.randint(0, 300, (2, length))
    positions = torch.arange(length).expand(2, -1)
    with FlopCounterMode(display=False) as counter:
        logits_of(
            model, FP32, input_ids=tokens, position_ids=positions, segment_ids=torch.ones_like(tokens)
        ).sum().backward()
    counted = counter.get_total_flops() / tokens.numel()
    assert flops_per_token(count_parameters(model), compiled.plan.model, length) == pytest.approx(
        counted, rel=0.02
    )


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("Some Other Device", None),
    ],
)
def test_the_peak_is_found_by_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak
