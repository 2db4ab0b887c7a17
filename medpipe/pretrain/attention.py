"""Attention that stays inside documents, in the ways that fit device and window length.

Short windows: scaled-dot-product attention with a dense mask. Long ones and CUDA: each document by itself, so
that nothing is computed between documents. Both are known to transformers by name.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

DENSE = "sdpa"
DENSE_FP32 = "medpipe_dense_fp32"
BY_DOCUMENT = "medpipe_by_document"

DENSE_BELOW = 1024
"""Window length from which on a CPU computes each document by itself."""


def _dense_fp32(
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


def _by_document(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each document of packed windows.

    Args:
        module: the attention layer.
        query: [B, heads, T, width].
        key: [B, key-value heads, T, width].
        value: [B, key-value heads, T, width].
        attention_mask: not used: documents are told by `cu_seq_lens_q`.
        scaling: factor of the scores.
        cu_seq_lens_q: see `document_borders`; without it every row is one document, as in generation.
        kwargs: further arguments of transformers, passed on or not needed.

    Returns:
        [B, T, heads, width], and no weights.
    """
    if cu_seq_lens_q is None:
        is_causal = query.shape[2] == key.shape[2] and query.shape[2] > 1
        output = _causal(query, key, value, scaling, is_causal=is_causal)
        return output.transpose(1, 2).contiguous(), None
    if query.device.type == "cuda" and query.dtype in (torch.bfloat16, torch.float16):
        return _by_flash(query, key, value, cu_seq_lens_q, scaling), None
    return _one_by_one(query, key, value, cu_seq_lens_q, scaling), None


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, *, is_causal: bool) -> Tensor:
    """Attention over whole rows; in fp32 on a CPU, where the bf16 backward pass is slow."""
    dtype = query.dtype
    if query.device.type == "cpu" and dtype is not torch.float32:
        with torch.autocast("cpu", enabled=False):
            tensors = query.float(), key.float(), value.float()
            output = functional.scaled_dot_product_attention(
                *tensors, is_causal=is_causal, scale=scaling, enable_gqa=True
            )
        return output.to(dtype)
    return functional.scaled_dot_product_attention(
        query, key, value, is_causal=is_causal, scale=scaling, enable_gqa=True
    )


@torch.compiler.disable  # type: ignore[untyped-decorator]  # the number of documents differs from batch to batch
def _one_by_one(query: Tensor, key: Tensor, value: Tensor, borders: Tensor, scaling: float | None) -> Tensor:
    """A call for each document."""
    length = query.shape[2]
    ends = borders.tolist()
    outputs = []
    for start, stop in itertools.pairwise(ends):
        row, first, last = start // length, start % length, (stop - 1) % length + 1
        part = (slice(row, row + 1), slice(None), slice(first, last))
        outputs.append(_causal(query[part], key[part], value[part], scaling, is_causal=True))
    joined = torch.cat([output[0] for output in outputs], dim=1)  # [heads, B * T, width]
    batch, heads, _, width = query.shape
    return joined.view(heads, batch, length, width).permute(1, 2, 0, 3).contiguous()


def _by_flash(query: Tensor, key: Tensor, value: Tensor, borders: Tensor, scaling: float | None) -> Tensor:
    """One call of FlashAttention's kernel for documents of different lengths."""
    from torch.nn.attention.varlen import varlen_attn

    batch, heads, length, width = query.shape
    output = varlen_attn(
        _laid_end_to_end(query),
        _laid_end_to_end(key),
        _laid_end_to_end(value),
        borders,
        borders,
        length,
        length,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=True,
    )
    assert isinstance(output, Tensor)  # noqa: S101 - more is returned only where it is asked for
    return output.view(batch, length, heads, width)


def _laid_end_to_end(tensor: Tensor) -> Tensor:
    """[B, heads, T, width] as [B * T, heads, width]."""
    return tensor.transpose(1, 2).flatten(0, 1).contiguous()


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """Attention by document needs no mask."""


AttentionInterface.register(DENSE_FP32, _dense_fp32)
AttentionMaskInterface.register(DENSE_FP32, sdpa_mask)
AttentionInterface.register(BY_DOCUMENT, _by_document)
AttentionMaskInterface.register(BY_DOCUMENT, _no_mask)


def document_mask(segment_ids: Tensor) -> Tensor:
    """Which position may see which: itself and earlier ones of its own document.

    Args:
        segment_ids: [B, T] integers.

    Returns:
        Booleans [B, 1, T, T], True where row (query) attends to column (key).
    """
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return torch.tril(same)[:, None]


def document_borders(segment_ids: Tensor) -> Tensor:
    """Where documents begin in the rows laid end to end, and behind the last one the number of positions.

    Args:
        segment_ids: [B, T] integers.

    Returns:
        int32 [documents + 1]; a row's first position begins a document in any case.
    """
    begins = torch.ones_like(segment_ids, dtype=torch.bool)
    begins[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    starts = begins.flatten().nonzero().flatten().to(torch.int32)
    return torch.cat([starts, starts.new_tensor([segment_ids.numel()])])
