"""Measures a model on the held-out text of a compiled plan, for the trainer and for later comparison."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from tokenizers import Tokenizer
from torch import nn

from medpipe.lake.layout import Lake
from medpipe.pretrain.bits_per_byte import BitsPerByte, HeldOutShard, window_bits
from medpipe.pretrain.byte_windows import limit_bytes
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.model import Compute, device_and_precision, load_pretrained
from medpipe.records.kinds import Split
from medpipe.tokens.shard import open_shards
from medpipe.tokens.token_bytes import read_token_bytes
from medpipe.tokens.vocabulary import ShardError

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


def shards_for(
    shards: Sequence[HeldOutShard], *, ours: Tokenizer, theirs: Tokenizer, eos_id: int
) -> list[HeldOutShard]:
    """The same texts in the tokens of another tokenizer.

    Args:
        shards: encoded with `ours`.
        ours: gives every text back exactly.
        theirs: what a model of another plan was trained with.
        eos_id: its id of `<eos>`.

    Raises:
        ShardError: `ours` does not give a text back, so that the other model cannot be measured on it.
    """
    theirs.encode_special_tokens = True
    encoded = []
    for shard in shards:
        rows = shard.documents.select("offset", "length", "text_bytes", "id").iter_rows()
        pieces = []
        for offset, length, size, name in rows:
            text = ours.decode(shard.tokens[offset : offset + length - 1].tolist(), skip_special_tokens=False)
            if len(text.encode()) != size:
                raise ShardError(
                    f"document {name} of {shard.domain} cannot be read back from its tokens, so a model with "
                    "another tokenizer cannot be measured on it; use a tokenizer that loses nothing"
                )
            ids = theirs.encode(text, add_special_tokens=False).ids
            pieces.append(np.array([*ids, eos_id], dtype=np.int32))
        lengths = pl.Series([len(piece) for piece in pieces], dtype=pl.Int64)
        documents = shard.documents.with_columns(offset=lengths.cum_sum() - lengths, length=lengths)
        tokens = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
        encoded.append(HeldOutShard(shard.domain, tokens, documents))
    return encoded


def measure_checkpoint(
    folder: Path,
    *,
    compiled: CompiledPlan,
    lake: Lake,
    snapshot: CorpusSnapshot,
    batch_sequences: int = 32,
) -> BitsPerByte:
    """Bits per byte of a checkpoint on the held-out text of a plan, whatever plan it was trained with.

    The context is that of the plan, or of the checkpoint where it reads fewer tokens at once. A checkpoint
    with another tokenizer reads the same text, encoded anew.

    Args:
        folder: holds `config.json`, `model.safetensors` and `tokenizer.json`.
        compiled: whose held-out text.
        lake: where it lies.
        snapshot: the corpus the plan was compiled with.
        batch_sequences: see `window_bits`.

    Raises:
        ShardError: a held-out shard is damaged, or cannot be read by the other tokenizer.
        PublishedModelError: the weights do not fit the configuration, or are no numbers.
        OSError: a file is missing.
    """
    compute = device_and_precision(compiled.plan)
    model = load_pretrained(folder, attention=compute.attention)
    shards, eos_id = held_out_shards(compiled, lake, snapshot), compiled.tokenizer.eos_id
    tokenizer = folder / "tokenizer.json"
    if not filecmp.cmp(tokenizer, compiled.tokenizer.path, shallow=False):
        eos_id = int(model.config.eos_token_id)
        ours, theirs = (Tokenizer.from_file(str(path)) for path in (compiled.tokenizer.path, tokenizer))
        shards = shards_for(shards, ours=ours, theirs=theirs, eos_id=eos_id)
    windows = window_bits(
        model.to(compute.device),
        compute,
        shards,
        sequence_length=min(compiled.plan.sequence_length, int(model.config.max_position_embeddings)),
        eos_id=eos_id,
        token_bytes=read_token_bytes(tokenizer),
        bytes_per_domain=limit_bytes(compiled.plan.validation_tokens),
        batch_sequences=batch_sequences,
    )
    return BitsPerByte(windows)


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
