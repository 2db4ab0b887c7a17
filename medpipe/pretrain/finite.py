"""What is not a number is named where it is found: in a step, in a checkpoint, in a published model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class NonFiniteError(ArithmeticError):
    """A loss, a gradient or a weight is NaN or infinite, or spikes do not end; the message names where."""


def first_non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first floating tensor that holds NaN or infinity; None where all are finite.

    Args:
        tensors: of any shape and dtype, by name.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return name
    return None
