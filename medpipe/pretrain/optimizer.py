"""AdamW with named groups, and its state by parameter name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medpipe.pretrain.plan import OptimizerSettings
from medpipe.pretrain.ranks import like, whole
from medpipe.pretrain.zero import ZeroOptimizer, shape_of

Optimizer = torch.optim.Optimizer | ZeroOptimizer

_STATE_KEYS = ("exp_avg", "exp_avg_sq", "step")


class OptimizerStateError(ValueError):
    """Stored moments do not belong to this model."""


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over two groups: `decay` holds the matrices, `no_decay` norms and biases."""
    named = list(model.named_parameters())
    groups = [
        {
            "name": "decay",
            "params": [(name, p) for name, p in named if p.dim() >= 2],
            "weight_decay": settings.weight_decay,
        },
        {
            "name": "no_decay",
            "params": [(name, p) for name, p in named if p.dim() < 2],
            "weight_decay": 0.0,
        },
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.peak_learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )


def clip_gradients(model: nn.Module, optimizer: Optimizer, limit: float) -> float:
    """Bounds the global norm of the gradients; a ZeRO optimizer does so in its step.

    Returns:
        The norm before; NaN or infinite where a gradient is.
    """
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.gradient_norm()
    return whole(nn.utils.clip_grad_norm_(model.parameters(), limit)).item()


def whole_weights(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """All weights by parameter name, a tied matrix once; where sharded every rank must ask."""
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.weights(model)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Moments and step counts as `<parameter name>.<key>`, not copied; empty before the first step."""
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.moments(model)
    return {
        f"{name}.{key}": optimizer.state[parameter][key].detach()
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for key in _STATE_KEYS
    }


def load_tensors(
    model: nn.Module, optimizer: Optimizer, weights: dict[str, Tensor], moments: dict[str, Tensor]
) -> None:
    """Puts weights, moments and step counts back, bit for bit; settings such as the rate are not touched.

    Raises:
        OptimizerStateError: a parameter's moments are missing, left over, or of another shape.
    """
    _refuse_other_moments(model, moments)
    if isinstance(optimizer, ZeroOptimizer):
        optimizer.load(model, weights, moments)
        return
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(like(weights[name], parameter))
    for name, parameter in model.named_parameters():
        state = {key: moments[f"{name}.{key}"] for key in _STATE_KEYS}
        optimizer.state[parameter] = {
            # The fused kernel keeps the step count on the parameter's device; it is not sharded.
            "step": state["step"].to(device=parameter.device, dtype=torch.float32),
            **{key: like(state[key].float(), parameter) for key in ("exp_avg", "exp_avg_sq")},
        }


def _refuse_other_moments(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Compares names and shapes of stored moments with the model.

    Raises:
        OptimizerStateError: a parameter's moments are missing, left over, or of another shape.
    """
    named = dict(model.named_parameters())
    expected = {f"{name}.{key}" for name in named for key in _STATE_KEYS}
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)[:3]
        raise OptimizerStateError(f"optimizer state does not fit the model, for example {', '.join(odd)}")
    for name, parameter in named.items():
        shape = tuple(tensors[f"{name}.exp_avg"].shape)
        if shape != shape_of(parameter):
            raise OptimizerStateError(
                f"moments of {name} have shape {shape}, the parameter {shape_of(parameter)}"
            )
