"""What a plan costs, worked out on paper: parameters, memory of the trainer, floating-point operations.

Everything is a formula over the model's shape; nothing is looked up, and no speed is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from medpipe.pretrain.plan import ModelShape

FP32, BF16, INT64 = 4, 2, 8


def parameter_count(shape: ModelShape, vocabulary_size: int) -> int:
    """Trainable parameters, tied ones once."""
    embedding = vocabulary_size * shape.hidden_size
    head = 0 if shape.tie_embeddings else embedding
    norms = 2 * shape.hidden_size + (2 * shape.head_width if shape.architecture == "qwen3" else 0)
    return embedding + head + shape.layers * (_block_matrices(shape) + norms) + shape.hidden_size


def _block_matrices(shape: ModelShape) -> int:
    query, key_value = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    attention = shape.hidden_size * (2 * query + 2 * key_value)
    return attention + 3 * shape.hidden_size * shape.intermediate_size


def training_flops_per_token(shape: ModelShape, vocabulary_size: int, sequence_length: int) -> float:
    """Floating-point operations of one trained token, forward and backward.

    Six for each parameter that is multiplied with (the embedding is looked up, the output projection is not),
    and twelve for each layer, attended position and channel (PaLM, arXiv 2204.02311, appendix B); a dense
    mask multiplies all positions of the window, so no half is taken off for causality.
    """
    multiplied = shape.layers * _block_matrices(shape) + vocabulary_size * shape.hidden_size
    attended = shape.layers * shape.heads * shape.head_width * sequence_length
    return 6.0 * multiplied + 12.0 * attended


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes that the trainer holds beyond its libraries, by what they are for."""

    weights: int
    gradients: int
    moments: int
    """AdamW's two moments."""
    cast_weights: int
    """bf16 copies of the matrices that autocast keeps over a forward pass."""
    activations: int
    """What the forward pass of one micro batch keeps for the backward pass."""
    attention: int
    """Mask and, off the fused path, scores."""
    logits: int
    """Output of one micro batch, its fp32 copy, and the gradients of both."""

    @property
    def resident(self) -> int:
        """Held all the time once the first step is done."""
        return self.weights + self.gradients + self.moments

    @property
    def peak(self) -> int:
        """Most at once, at the turn from the forward to the backward pass."""
        return self.resident + self.cast_weights + self.activations + self.attention + self.logits


def memory_estimate(
    shape: ModelShape,
    vocabulary_size: int,
    *,
    sequence_length: int,
    micro_batch: int,
    is_bf16: bool,
    attends_in_fp32: bool,
) -> MemoryEstimate:
    """Estimates the trainer's memory; `medpipe plan check --measure` puts a measured peak beside it.

    Args:
        shape: the model.
        vocabulary_size: rows of the embedding.
        sequence_length: tokens of a window.
        micro_batch: windows of one forward pass.
        is_bf16: whether matrices are multiplied in bf16.
        attends_in_fp32: whether query, key and value are cast to fp32 around attention, as on a CPU.
    """
    parameters = parameter_count(shape, vocabulary_size)
    positions = micro_batch * sequence_length
    width = BF16 if is_bf16 else FP32
    attention_width = FP32 if attends_in_fp32 else width
    return MemoryEstimate(
        weights=parameters * FP32,
        gradients=parameters * FP32,
        moments=2 * parameters * FP32,
        cast_weights=(shape.layers * _block_matrices(shape) + vocabulary_size * shape.hidden_size) * BF16
        if is_bf16
        else 0,
        activations=positions * _kept_per_position(shape, is_bf16=is_bf16, attention_width=attention_width),
        # Every layer turns the boolean mask into an additive one of its own and keeps it.
        attention=micro_batch * sequence_length**2 * (1 + shape.layers * attention_width),
        # fp32 logits, their log-softmax, the gradient of the fp32 logits, and its copy in bf16.
        logits=positions * vocabulary_size * (3 * FP32 + (BF16 if is_bf16 else 0)),
    )


def _kept_per_position(shape: ModelShape, *, is_bf16: bool, attention_width: int) -> int:
    """Bytes a token position that a forward pass keeps: what autograd saves, tensor by tensor.

    A test compares the sum with what autograd says it saves.
    """
    hidden, inner = shape.hidden_size, shape.intermediate_size
    query, key_value = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    width = BF16 if is_bf16 else FP32
    # Two norms: their input and its normalised copy in fp32, and one reciprocal root each.
    norms = 4 * hidden * FP32 + 2 * FP32
    # Autocast casts the input of each matrix anew: three for query, key and value, two for gate and up.
    inputs = 5 * hidden * BF16 if is_bf16 else 2 * hidden * FP32
    # Rotated query, key and value repeated for every query head, the output where it was cast, and one
    # log-sum-exp a head; then the output as the projection reads it.
    attended = (4 if attention_width != width else 3) * query * attention_width + shape.heads * FP32
    output = query * width
    qk_norms = 0
    if shape.architecture == "qwen3":
        qk_norms = (query + key_value) * (FP32 + width) + (shape.heads + shape.kv_heads) * FP32
    feed_forward = 4 * inner * width  # gate, its activation, up, and their product
    block = norms + inputs + attended + output + qk_norms + feed_forward
    # Behind the last block: the final norm, and its output as the projection to logits reads it.
    tail = 2 * hidden * FP32 + FP32 + hidden * width
    rotation = 2 * shape.head_width * FP32
    return shape.layers * block + tail + rotation + 2 * INT64
