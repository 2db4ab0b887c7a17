"""The network: a Llama or Qwen3 of transformers, and the arithmetic it runs in."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from medpipe.pretrain.attention import (
    BY_DOCUMENT,
    DENSE,
    DENSE_BELOW,
    DENSE_FP32,
    document_borders,
    document_mask,
)
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.corpus import TokenizerInfo
from medpipe.pretrain.finite import first_non_finite
from medpipe.pretrain.plan import ModelShape, Plan, Precision
from medpipe.pretrain.published_model import PublishedModelError
from medpipe.pretrain.zero import shape_of

_BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


@dataclass(frozen=True)
class Compute:
    """Where and in which precision a model runs."""

    device: torch.device
    precision: Precision
    """`fp32` or `bf16`; never `auto`."""
    by_document: bool = False
    """Whether attention computes each document by itself instead of masking a dense matrix."""

    @property
    def attention(self) -> str:
        """Attention implementation that fits."""
        if self.by_document:
            return BY_DOCUMENT
        return DENSE_FP32 if self.device.type == "cpu" and self.precision is Precision.BF16 else DENSE

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Context of a forward pass: bf16 matrix products where the precision says so."""
        enabled = self.precision is Precision.BF16
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled):
            yield


@cache
def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware; elsewhere bf16 is slower than fp32."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not _BF16_FLAGS.isdisjoint(flags.split())


def device_and_precision(plan: Plan) -> Compute:
    """Chooses CUDA in bf16 where there is one, else the CPU in bf16 where it is fast, else fp32.

    The plan's `precision` overrides the choice.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    by_document = device.type == "cuda" or plan.sequence_length >= DENSE_BELOW
    if plan.precision is not Precision.AUTO:
        return Compute(device, plan.precision, by_document)
    if device.type == "cuda":
        fast_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast_bf16 = cpu_has_bf16()
    return Compute(device, Precision.BF16 if fast_bf16 else Precision.FP32, by_document)


_CLASSES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def model_config(shape: ModelShape, tokenizer: TokenizerInfo) -> Any:
    """Transformers' configuration of a model of this shape, made for a tokenizer."""
    return AutoConfig.for_model(
        shape.architecture,
        architectures=[_CLASSES[shape.architecture]],
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_width,
        intermediate_size=shape.intermediate_size,
        tie_word_embeddings=shape.tie_embeddings,
        max_position_embeddings=shape.max_position,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        # A document begins behind an <eos>: the same token serves as begin mark.
        bos_token_id=tokenizer.eos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        dtype="float32",
    )


def build_model(plan: Plan, tokenizer: TokenizerInfo, compute: Compute) -> nn.Module:
    """A fresh fp32 model whose weights depend on the plan's seed alone; torch's RNG is left as it was.

    Raises:
        ValueError: the plan has no model of its own.
    """
    if plan.model is None:
        raise ValueError("the plan takes its model from start_from; use first_model")
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        model: nn.Module = AutoModelForCausalLM.from_config(
            model_config(plan.model, tokenizer), attn_implementation=compute.attention
        )
    return model.to(compute.device).train()


def first_model(compiled: CompiledPlan, compute: Compute) -> nn.Module:
    """The fp32 model that a plan begins with: a fresh one, or that of the checkpoint it starts from.

    Of a checkpoint, configuration and weights are taken; see `load_pretrained`.

    Raises:
        PublishedModelError: its weights are not those of its configuration, or hold NaN or infinity.
    """
    if compiled.start is None:
        return build_model(compiled.plan, compiled.tokenizer, compute)
    model: nn.Module = load_pretrained(compiled.start.folder, attention=compute.attention)
    return model.to(compute.device).train()


def load_pretrained(folder: Path, *, attention: str | None = None) -> Any:
    """A model of transformers in fp32 on the CPU, in evaluation mode; torch's RNG is left as it was.

    No publisher's code is run, nothing is downloaded or unpickled.

    Args:
        folder: holds `config.json` and safetensors: a checkpoint, or a published model.
        attention: attention implementation; transformers' own choice if None.

    Raises:
        PublishedModelError: its weights are not those of its configuration, or hold NaN or infinity.
        OSError: a file is missing.
    """
    with torch.random.fork_rng(), _without_progress_bars():
        model, told = AutoModelForCausalLM.from_pretrained(
            folder,
            attn_implementation=attention,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    # Transformers fills what is missing with random numbers and leaves out what it has no place for.
    for problem in ("missing", "unexpected", "mismatched"):
        if names := sorted(str(name) for name in told[f"{problem}_keys"]):
            raise PublishedModelError(
                f"{folder}: the weights do not fit config.json, {len(names)} {problem} such as "
                f"{', '.join(names[:3])}; fetch the model again, or name another"
            )
    poisoned = first_non_finite(dict(model.named_parameters()))
    if poisoned is not None:
        raise PublishedModelError(f"{folder}: {poisoned} holds NaN or infinity; name another model")
    return model


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keeps "Loading weights" out of the news of a command."""
    has_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if has_bars:
            logging.enable_progress_bar()


def compile_blocks(model: nn.Module) -> None:
    """Compiles each transformer block in place; names and results of parameters stay as they are.

    Blocks and not the whole: compiled as a whole, the gradient of the embedding is summed up in an order that
    changes from run to run on more than one thread.
    """
    decoder: Any = model.get_submodule("model")
    for block in decoder.layers:
        block.compile(dynamic=False)


def logits_of(
    model: nn.Module, compute: Compute, *, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor
) -> Tensor:
    """Next-token logits [B, T, vocabulary] in fp32 of packed windows, all arguments [B, T]."""
    documents: dict[str, Tensor] = (
        {"cu_seq_lens_q": document_borders(segment_ids)}
        if compute.by_document
        else {"attention_mask": document_mask(segment_ids)}
    )
    with compute.autocast():
        output = model(input_ids=input_ids, position_ids=position_ids, use_cache=False, **documents)
    logits: Tensor = output.logits
    return logits.float()


def count_parameters(model: nn.Module) -> int:
    """Parameters of a model, tied ones once."""
    return sum(math.prod(shape_of(parameter)) for parameter in model.parameters())
