"""The network: a Llama or Qwen3 of transformers, its document mask, and the arithmetic it runs in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.corpus import TokenizerInfo
from medpipe.pretrain.plan import ModelShape, Plan, Precision

FP32_ATTENTION = "medpipe_fp32_sdpa"
"""Name under which scaled-dot-product attention in fp32 is known to transformers."""

_BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


def _fp32_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Scaled-dot-product attention in fp32 inside a bf16 forward pass.

    On a CPU the bf16 backward pass of attention is more than twice as slow as the fp32 one.
    """
    with torch.autocast(query.device.type, enabled=False):
        output, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **kwargs
        )
    return output.to(query.dtype), None


AttentionInterface.register(FP32_ATTENTION, _fp32_attention)
AttentionMaskInterface.register(FP32_ATTENTION, sdpa_mask)


@dataclass(frozen=True)
class Compute:
    """Where and in which precision a model runs."""

    device: torch.device
    precision: Precision
    """`fp32` or `bf16`; never `auto`."""

    @property
    def attention(self) -> str:
        """Attention implementation that fits device and precision."""
        return FP32_ATTENTION if self.device.type == "cpu" and self.precision is Precision.BF16 else "sdpa"

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
    if plan.precision is not Precision.AUTO:
        return Compute(device, plan.precision)
    if device.type == "cuda":
        fast_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast_bf16 = cpu_has_bf16()
    return Compute(device, Precision.BF16 if fast_bf16 else Precision.FP32)


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

    Of a checkpoint, configuration and weights are taken. No publisher's code is run, nothing is unpickled.
    """
    if compiled.start is None:
        return build_model(compiled.plan, compiled.tokenizer, compute)
    with torch.random.fork_rng():
        model: nn.Module = AutoModelForCausalLM.from_pretrained(
            compiled.start.folder,
            attn_implementation=compute.attention,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    return model.to(compute.device).train()


def document_mask(segment_ids: Tensor) -> Tensor:
    """Which position may see which: itself and earlier ones of its own document.

    Args:
        segment_ids: [B, T] integers.

    Returns:
        Booleans [B, 1, T, T], True where row (query) attends to column (key).
    """
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return torch.tril(same)[:, None]


def logits_of(
    model: nn.Module, compute: Compute, *, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor
) -> Tensor:
    """Next-token logits [B, T, vocabulary] in fp32 of packed windows, all arguments [B, T]."""
    with compute.autocast():
        output = model(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=document_mask(segment_ids),
            use_cache=False,
        )
    logits: Tensor = output.logits
    return logits.float()


def count_parameters(model: nn.Module) -> int:
    """Parameters of a model, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
