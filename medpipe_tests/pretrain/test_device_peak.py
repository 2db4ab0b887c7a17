"""The peak rate of a device is found by its name."""

from __future__ import annotations

import pytest

from medpipe.pretrain.device_peak import peak_flops


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
