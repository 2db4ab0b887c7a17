"""Arithmetic of a training step, and what a device could do at best."""

from __future__ import annotations

from medpipe.pretrain.plan_model import ModelShape

PEAK_BF16_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H800": 989e12,
    "H20": 148e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense bf16 tensor-core operations a second by part of the device's name, from the maker's data sheets."""


def flops_per_token(parameters: int, shape: ModelShape, sequence_length: int) -> float:
    """Floating-point operations of forward and backward pass for one token.

    Six a parameter, and twelve a layer, channel and position for attention, as in PaLM (appendix B), whose
    convention counts attention as if it were dense: masks save work that is counted here. An embedding matrix
    that is tied to the output projection does that projection's work; one that is not does none.

    Args:
        parameters: all of them, a tied matrix once.
        shape: the model's shape.
        sequence_length: tokens of a window.
    """
    return 6.0 * parameters + 12.0 * shape.layers * shape.hidden_size * sequence_length


def peak_flops(device_name: str) -> float | None:
    """Operations a second in bf16 of a device by its name; None where it is not known.

    The first entry that the name contains counts: longer names stand before shorter ones.
    """
    return next((peak for name, peak in PEAK_BF16_FLOPS.items() if name in device_name), None)
