"""Parameters, memory and operations on paper, against what transformers and autograd say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from medpipe.pretrain.batch import assemble
from medpipe.pretrain.corpus import TokenizerInfo
from medpipe.pretrain.dataset import batch_tensors
from medpipe.pretrain.estimate import memory_estimate, parameter_count, training_flops_per_token
from medpipe.pretrain.model import Compute, build_model, count_parameters, logits_of, model_config
from medpipe.pretrain.plan import ModelShape, Precision, load_plan

CPU = torch.device("cpu")


def tokenizer(entries: int) -> TokenizerInfo:
    return TokenizerInfo(folder=Path("t"), digest="0" * 32, vocabulary_size=entries, eos_id=0, pad_id=1)


def on_paper(shape: ModelShape, entries: int) -> int:
    """Parameters of transformers' own model, built without memory."""
    with torch.device("meta"):
        return count_parameters(AutoModelForCausalLM.from_config(model_config(shape, tokenizer(entries))))


@pytest.mark.parametrize(
    ("name", "low", "high"), [("demo", 1e6, 3e6), ("mini", 55e6, 65e6), ("base", 205e6, 235e6)]
)
def test_presets_have_the_size_they_promise(name: str, low: float, high: float) -> None:
    plan = load_plan(name)
    assert plan.model is not None
    entries = plan.tokenizer.vocabulary_size
    assert low <= parameter_count(plan.model, entries) <= high
    assert parameter_count(plan.model, entries) == on_paper(plan.model, entries)


@given(
    st.builds(
        lambda architecture, pairs, groups, head, layers, inner, tied, apart: ModelShape(
            architecture=architecture,
            hidden_size=2 * head * groups * pairs,
            layers=layers,
            heads=groups * pairs,
            kv_heads=pairs,
            head_dim=2 * head + 2 if apart else None,
            intermediate_size=inner,
            tie_embeddings=tied,
            max_position=64,
        ),
        st.sampled_from(["llama", "qwen3"]),
        *(st.integers(1, 3) for _ in range(4)),
        st.integers(1, 50),
        st.booleans(),
        st.booleans(),
    ),
    st.integers(10, 500),
)
@settings(max_examples=40, deadline=None)
def test_parameters_are_those_of_transformers(shape: ModelShape, entries: int) -> None:
    assert parameter_count(shape, entries) == on_paper(shape, entries)


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_memory_counts_what_autograd_keeps(architecture: str, precision: Precision) -> None:
    """To the byte, but for the scalar loss; the demo model is measured whole in `test_trial`."""
    demo = load_plan("demo")
    assert demo.model is not None
    shape = demo.model.model_copy(update={"architecture": architecture})
    compute = Compute(CPU, precision)
    model = build_model(demo.model_copy(update={"model": shape}), tokenizer(1_000), compute)
    rows, length = 3, 64
    ids = np.random.default_rng(0).integers(0, 1_000, rows * length).astype(np.uint16)
    batch = batch_tensors(
        assemble([(ids, row * length, length) for row in range(rows)], sequence_length=length, eos_id=0), CPU
    )
    targets = batch.pop("targets")
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = logits_of(model, compute, **batch)
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    is_bf16 = precision is Precision.BF16
    estimate = memory_estimate(
        shape, 1_000, sequence_length=length, micro_batch=rows, is_bf16=is_bf16, attends_in_fp32=is_bf16
    )
    boolean_mask = rows * length**2  # built outside of what is differentiated
    log_softmax = rows * length * 1_000 * 4  # the one of the logits' copies that is kept
    expected = estimate.cast_weights + estimate.activations + estimate.attention - boolean_mask + log_softmax
    assert sum(storage.nbytes() for storage in kept.values()) == expected + 4


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_operations_are_those_that_torch_counts(architecture: str) -> None:
    shape = ModelShape(
        architecture=architecture, hidden_size=32, layers=2, heads=4, kv_heads=2, head_dim=16,
        intermediate_size=48, max_position=64,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(model_config(shape, tokenizer(100)), attn_implementation="eager")
    counter = FlopCounterMode(display=False)
    with counter:
        model(torch.randint(0, 100, (2, 40))).logits.sum().backward()
    # The rotation's angles are one small product of their own (forward only).
    angles = 2 * (shape.head_width // 2) * 40
    assert counter.get_total_flops() == pytest.approx(
        2 * 40 * training_flops_per_token(shape, 100, 40) + angles, rel=1e-3
    )
