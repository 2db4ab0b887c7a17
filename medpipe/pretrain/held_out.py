"""Measures a model on the held-out text of a compiled plan, for the trainer and for later comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from medpipe.lake.layout import Lake
from medpipe.pretrain.bits_per_byte import BitsPerByte, HeldOutShard, window_bits
from medpipe.pretrain.byte_windows import limit_bytes
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.model import Compute
from medpipe.records.kinds import Split
from medpipe.tokens.shard import open_shards
from medpipe.tokens.token_bytes import read_token_bytes

if TYPE_CHECKING:
    from medpipe.tokens.snapshot import CorpusSnapshot


def held_out_shards(compiled: CompiledPlan, lake: Lake, snapshot: CorpusSnapshot) -> list[HeldOutShard]:
    """Opens the validation shards of a compiled plan.

    Args:
        compiled: the plan.
        lake: where the shards lie.
        snapshot: the corpus the plan was compiled with.

    Raises:
        ShardError: a shard is damaged or of another tokenizer.
    """
    opened = {
        (shard.domain, shard.source, shard.name): shard
        for shard in open_shards(lake, snapshot, split=Split.VALIDATION)
    }
    chosen = [opened[info.domain, info.source, info.name] for info in compiled.validation]
    return [HeldOutShard(s.domain, s.tokens, s.document_index()) for s in chosen]


def measure_held_out(
    model: nn.Module,
    compute: Compute,
    *,
    compiled: CompiledPlan,
    lake: Lake,
    snapshot: CorpusSnapshot,
    batch_sequences: int = 32,
    check: Callable[[], None] = lambda: None,
) -> BitsPerByte:
    """Bits per byte of a model on a plan's held-out text; see `window_bits`.

    Raises:
        ShardError: a shard is damaged, or does not belong to the plan's tokenizer.
    """
    windows = window_bits(
        model,
        compute,
        held_out_shards(compiled, lake, snapshot),
        sequence_length=compiled.plan.sequence_length,
        eos_id=compiled.tokenizer.eos_id,
        token_bytes=read_token_bytes(compiled.tokenizer.path),
        bytes_per_domain=limit_bytes(compiled.plan.validation_tokens),
        batch_sequences=batch_sequences,
        check=check,
    )
    return BitsPerByte(windows)
