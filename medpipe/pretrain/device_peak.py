"""What a device could do at best."""

from __future__ import annotations

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


def peak_flops(device_name: str) -> float | None:
    """Operations a second in bf16 of a device by its name; None where it is not known.

    The first entry that the name contains counts: longer names stand before shorter ones.
    """
    return next((peak for name, peak in PEAK_BF16_FLOPS.items() if name in device_name), None)
