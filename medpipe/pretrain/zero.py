"""DeepSpeed's ZeRO as one more way of holding a model over several processes (arXiv 1910.02054).

Only the memory layout is DeepSpeed's: batches, learning rate, clipping and spikes are decided as everywhere
else, and every checkpoint is gathered into the format of a single process. So a run goes on, in the middle of
a stage too, with another number of processes or another strategy: equal up to rounding.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from medpipe.pretrain.plan_model import Strategy

_STAGES = {Strategy.ZERO1: 1, Strategy.ZERO2: 2, Strategy.ZERO3: 3}
_MOMENTS = ("exp_avg", "exp_avg_sq")


class StrategyError(ValueError):
    """The processes cannot train together as the plan asks; the message names the fix."""


def shape_of(parameter: nn.Parameter) -> tuple[int, ...]:
    """Shape of a whole parameter; under ZeRO-3 the parameter itself is empty between uses."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


class ZeroOptimizer:
    """AdamW over partitions, with the few calls that training makes of an optimizer."""

    def __init__(self, engine: Any) -> None:
        """Takes over an engine of DeepSpeed and gives every partition its moments, zero at first."""
        self._engine, self._zero = engine, engine.optimizer
        for flat in self._partitions():
            self._zero.optimizer.state[flat] = {
                "step": torch.zeros((), dtype=torch.float32, device=flat.device),
                **{key: torch.zeros_like(flat) for key in _MOMENTS},
            }
        if self._stage < 3:
            # Else DeepSpeed does so behind the first step of the first group, and misses the other groups.
            self._zero._lazy_init_hp_params_optimizer_state()

    @property
    def _stage(self) -> int:
        return int(self._engine.zero_optimization_stage())

    def _partitions(self) -> list[Tensor]:
        """This rank's flat fp32 partitions, which the moments are kept by."""
        name = "single_partition_of_fp32_groups" if self._stage < 3 else "fp32_partitioned_groups_flat"
        return list(getattr(self._zero, name))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The named groups; their rate is the one that the next step uses."""
        groups: list[dict[str, Any]] = self._zero.param_groups
        return groups

    def gradient_norm(self) -> float:
        """Global norm of the gradients before they are clipped; NaN where one is not finite."""
        if self._stage < 3:
            norm = float(self._zero.scaled_global_norm())
        else:
            from deepspeed.runtime.utils import combine_grad_norm_groups

            norm = float(combine_grad_norm_groups(self._zero._get_norm_groups()))
        return norm if norm >= 0 else math.nan  # DeepSpeed says -1 of what is not finite

    def step(self) -> None:
        """Clips, updates the partitions, and brings all ranks the new weights."""
        self._engine.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, those that are reduced already included."""
        self._zero.zero_grad(set_to_none=True)
        if self._stage < 3:
            self._zero._release_preflattened_grad_buffers()
        for held in (self._zero.averaged_gradients, getattr(self._zero, "all_grad_tensors", {})):
            for group in held:
                held[group] = None

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Whole fp32 weights by name; every rank must ask at the same time."""
        from deepspeed.utils import safe_get_full_fp32_param

        return {name: safe_get_full_fp32_param(p).view(shape_of(p)) for name, p in model.named_parameters()}

    def moments(self, model: nn.Module) -> dict[str, Tensor]:
        """Whole moments and step counts as `<parameter name>.<key>`; every rank must ask at the same time."""
        from deepspeed.utils import safe_get_full_optimizer_state

        step = self._zero.optimizer.state[self._partitions()[0]]["step"]
        if step == 0:
            return {}
        found = {}
        for name, parameter in model.named_parameters():
            for key in _MOMENTS:
                whole = safe_get_full_optimizer_state(parameter, key)
                found[f"{name}.{key}"] = whole.view(shape_of(parameter))
            found[f"{name}.step"] = step.detach()
        return found

    def load(self, model: nn.Module, weights: dict[str, Tensor], moments: dict[str, Tensor]) -> None:
        """Gives every rank its part of whole weights and moments, on the CPU, by name as above."""
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for name, parameter in model.named_parameters():
            value = weights[name].to(device=self._engine.device, dtype=torch.float32)
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0, enabled=self._stage == 3):
                parameter.data.copy_(value)
            safe_set_full_fp32_param(parameter, value)
            for key in _MOMENTS:
                moment = moments[f"{name}.{key}"].to(device=self._engine.device, dtype=torch.float32)
                safe_set_full_optimizer_state(parameter, moment, key)
        steps = {float(tensor) for name, tensor in moments.items() if name.endswith(".step")}
        if len(steps) != 1:
            raise StrategyError(
                f"the checkpoint's parameters have taken {sorted(steps)} steps, ZeRO keeps one count; use ddp"
            )
        for flat in self._partitions():
            self._zero.optimizer.state[flat]["step"].fill_(steps.copy().pop())


def spread_by_zero(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    strategy: Strategy,
    gradient_clip: float,
    is_bf16: bool,
    hidden_size: int,
) -> tuple[nn.Module, ZeroOptimizer]:
    """Partitions moments (`zero1`), gradients too (`zero2`), weights too (`zero3`) over the ranks.

    Args:
        model: fp32, equal on all ranks.
        optimizer: over the model's parameters; DeepSpeed takes it over.
        strategy: which stage of ZeRO.
        gradient_clip: largest global norm of the gradients.
        is_bf16: whether the forward pass runs under autocast in bf16.
        hidden_size: width of the model: ZeRO-3 leaves vectors whole, matrices not.

    Returns:
        What the forward pass goes through, and the optimizer in place of the given one.

    Raises:
        StrategyError: DeepSpeed is not installed.
    """
    try:
        deepspeed = _deepspeed()
    except ImportError as error:
        raise StrategyError(
            f"devices.strategy {strategy} needs DeepSpeed ({error}); install it with "
            "`DS_BUILD_OPS=0 pip install 'medpipe[deepspeed]'`, or use strategy ddp or fsdp"
        ) from error
    config = {
        "train_micro_batch_size_per_gpu": 1,  # only DeepSpeed's own counters read it
        "gradient_accumulation_steps": 1,  # the loop says which micro batch is the last
        "gradient_clipping": gradient_clip,
        "steps_per_print": None,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": _STAGES[strategy],
            "stage3_param_persistence_threshold": 10 * hidden_size,
        },
        # No class of module whose gradients are summed in bf16.
        "torch_autocast": {"enabled": is_bf16, "dtype": "bfloat16", "lower_precision_safe_modules": []},
    }
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=optimizer, config=config, dist_init_required=False
    )
    return engine, ZeroOptimizer(engine)


def _deepspeed() -> Any:
    """DeepSpeed, quiet, and without the kernel that it would compile at its first use on a CPU."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed\..*")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
