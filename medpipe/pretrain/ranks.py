"""The processes that train together: who this one is, its share of a batch, and what all of them know.

`torchrun` starts them; alone, a process is the only rank and nothing here talks to anybody. The global
batch, the order of samples and the learning rate do not depend on how many there are: ranks divide each
batch, so a run may go on with another number of them.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from medpipe.pretrain.launch import rank_variables
from medpipe.pretrain.plan_model import Strategy

_TIMEOUT = datetime.timedelta(minutes=30)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once: checkpoints, the spool, news."""
        return self.rank == 0

    def share(self, rows: int) -> range:
        """The rows of a global batch that this rank reads; whole shares only."""
        each = rows // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def sum(self, value: float, device: torch.device) -> float:
        """The sum of all ranks' values, the same on each."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return total.item()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any rank says so."""
        return self.sum(float(flag), device) > 0

    def wait_for_all(self) -> None:
        """Waits until every rank is here."""
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Joins the other processes where torchrun started this one; leaves them at the end of the block."""
    told = rank_variables()
    if told.size == 1:
        yield Ranks()
        return
    on_cuda = torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(told.local_rank or 0)
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=_TIMEOUT)
    try:
        yield Ranks(dist.get_rank(), told.size)
    finally:
        dist.destroy_process_group()


def spread(model: nn.Module, ranks: Ranks, strategy: Strategy) -> nn.Module:
    """What runs the forward pass: the model itself, a replica that sums gradients, or a sharded model.

    `DDP` keeps a whole model a rank. `FSDP` (FSDP2) shards weights, gradients and moments over the ranks,
    block by block; the model is changed in place and keeps the names of its parameters. All ranks must hold
    equal weights before. DeepSpeed takes the optimizer along: see `medpipe.pretrain.zero`.
    """
    if ranks.size == 1 or strategy.is_zero:
        return model
    if strategy is Strategy.DDP:
        return DistributedDataParallel(model)
    decoder: Any = model.get_submodule("model")
    for block in decoder.layers:
        fully_shard(block)
    fully_shard(model)
    return model


@contextlib.contextmanager
def gradients_summed_later(forward: nn.Module, later: bool) -> Iterator[None]:
    """Leaves the ranks' gradients apart for this backward pass, where one more micro batch follows."""
    if later and isinstance(forward, DistributedDataParallel):
        with forward.no_sync():
            yield
        return
    set_boundary: Any = getattr(forward, "set_gradient_accumulation_boundary", None)  # DeepSpeed's engine
    if set_boundary is not None:
        set_boundary(not later)
    yield


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its shards; every rank must ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor laid out over the ranks as another one is, on its device."""
    tensor = tensor.to(pattern.device)
    if isinstance(pattern, DTensor):
        return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)
    return tensor
