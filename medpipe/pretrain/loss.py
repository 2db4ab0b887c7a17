"""The loss of a batch, over micro batches and ranks."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from medpipe.pretrain.batch import IGNORED, Batch
from medpipe.pretrain.dataset import batch_tensors
from medpipe.pretrain.laps import Laps
from medpipe.pretrain.model import Compute, logits_of
from medpipe.pretrain.ranks import Ranks, gradients_summed_later


def batch_loss(
    model: nn.Module,
    compute: Compute,
    batch: Batch,
    *,
    micro_batch: int,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    laps: Laps | None = None,
) -> float:
    """Mean loss of a batch over its target tokens; gradients are added to the parameters.

    Every micro batch is weighted by its number of target tokens, so accumulated gradients equal those of
    the whole batch up to rounding, padding or not, on one rank or on many.

    Args:
        model: what `spread` gave.
        compute: where and how it runs.
        batch: the global batch; each rank reads its share.
        micro_batch: sequences of one forward pass of a rank.
        ranks: who reads along.
        laps: counts the time.
    """
    total = batch.target_tokens
    loss_sum = 0.0
    rows = ranks.share(len(batch.input_ids))
    for start in range(rows.start, rows.stop, micro_batch):
        stop = min(start + micro_batch, rows.stop)
        tensors = batch_tensors(batch.rows(start, stop), compute.device)
        targets = tensors.pop("targets")
        with gradients_summed_later(model, stop < rows.stop):
            logits = logits_of(model, compute, **tensors)
            loss = functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            if laps is not None:
                laps.lap("forward")
            # The ranks' gradients are averaged, and the loss is a sum over them.
            (loss * (ranks.size / total)).backward()  # type: ignore[no-untyped-call]
        loss_sum += loss.item()
        if laps is not None:
            laps.lap("backward")
    return ranks.sum(loss_sum, compute.device) / total
