"""A checkpoint is measured on a plan's held-out text, whatever tokenizer it was trained with."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.held_out import held_out_shards, measure_checkpoint, shards_for
from medpipe.tokens.vocabulary import ShardError
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.test_byte_windows import BYTES_ONLY, MERGED, TEXTS, shard_of


def test_the_same_texts_in_the_tokens_of_another_tokenizer() -> None:
    texts = [*TEXTS, "a text with <eos> in it, as plain characters"]
    ours, theirs = (shard_of(tokenizer, texts) for tokenizer in (BYTES_ONLY, MERGED))
    [found] = shards_for([ours], ours=BYTES_ONLY, theirs=MERGED, eos_id=0)
    assert found.tokens.tolist() == theirs.tokens.tolist() != ours.tokens.tolist()
    assert found.documents.equals(theirs.documents)


def test_a_text_that_does_not_come_back_is_refused_by_name() -> None:
    whole = shard_of(BYTES_ONLY, TEXTS)
    longer = dataclasses.replace(whole, documents=whole.documents.with_columns(pl.col("text_bytes") + 1))
    name = whole.documents["id"][0]
    with pytest.raises(ShardError, match=f"document {name} of general cannot be read back"):
        shards_for([longer], ours=BYTES_ONLY, theirs=MERGED, eos_id=0)


def test_a_uniform_checkpoint_of_another_tokenizer_needs_the_bits_of_its_own_tokens(
    corpus: Corpus, compiled: CompiledPlan, tmp_path: Path
) -> None:
    """All weights zero: each of its tokens costs the logarithm of its vocabulary, on our text's bytes."""
    MERGED.save(str(tmp_path / "tokenizer.json"))
    config = AutoConfig.for_model(
        "llama",
        vocab_size=MERGED.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        eos_token_id=0,
    )
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.save_pretrained(tmp_path)
    bits = measure_checkpoint(tmp_path, compiled=compiled, lake=corpus.lake, snapshot=corpus.snapshot)
    ours = held_out_shards(compiled, corpus.lake, corpus.snapshot)
    texts = [text for (_, split), rows in corpus.texts.items() if split == "validation" for text, _ in rows]
    assert sum(shard.documents.height for shard in ours) == len(texts)
    tokens = sum(len(MERGED.encode(text).ids) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    assert pl.Series(bits.windows["bytes"]).sum() == size
    assert bits.overall == pytest.approx(tokens * math.log2(MERGED.get_vocab_size()) / size, rel=1e-6)
