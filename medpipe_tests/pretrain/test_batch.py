from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from medpipe.pretrain.batch import IGNORED, assemble
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.dataset import StageData
from medpipe.tokens.shard import open_shards
from medpipe_tests.pretrain.corpus import Corpus

EOS = 0


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.integers(1, 12),
)
@settings(max_examples=200, deadline=None)
def test_windows_of_a_shard_against_brute_force(tokens: list[int], length: int) -> None:
    shard = np.array(tokens, dtype=np.uint16)
    windows = [(o, min(length, len(tokens) - o)) for o in range(0, len(tokens), length)]
    batch = assemble([(shard, o, n) for o, n in windows], sequence_length=length, eos_id=EOS)
    for row, (offset, size) in enumerate(windows):
        segment, position = 0, -1
        for t in range(length):
            place = offset + t
            before = EOS if place == 0 or t >= size else tokens[place - 1]
            segment, position = (segment + 1, 0) if before == EOS else (segment, position + 1)
            assert batch.input_ids[row, t] == before
            assert batch.targets[row, t] == (tokens[place] if t < size else IGNORED)
            assert batch.segment_ids[row, t] == segment
            assert batch.position_ids[row, t] == position
    assert batch.target_tokens == len(tokens)
    assert [int(t) for t in batch.targets.flatten() if t != IGNORED] == tokens


def test_a_document_starts_at_its_begin_mark() -> None:
    shard = np.array([7, 8, EOS, 5, 6, EOS], dtype=np.uint16)
    batch = assemble([(shard, 0, 6)], sequence_length=8, eos_id=EOS)
    assert batch.input_ids.tolist() == [[EOS, 7, 8, EOS, 5, 6, EOS, EOS]]
    assert batch.targets.tolist() == [[7, 8, EOS, 5, 6, EOS, IGNORED, IGNORED]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1, 2, 0, 0]]
    assert batch.segment_ids.tolist() == [[1, 1, 1, 2, 2, 2, 3, 4]]


def test_a_window_in_the_middle_of_a_document() -> None:
    shard = np.array([7, 8, 9, 4, EOS], dtype=np.int32)
    batch = assemble([(shard, 2, 3)], sequence_length=3, eos_id=EOS)
    assert batch.input_ids.tolist() == [[8, 9, 4]]
    assert batch.targets.tolist() == [[9, 4, EOS]]
    assert batch.position_ids.tolist() == [[0, 1, 2]]
    assert batch.input_ids.dtype == batch.targets.dtype == np.int64


def test_a_plain_dataloader_reads_the_batches_of_the_loop(corpus: Corpus, compiled: CompiledPlan) -> None:
    stage = compiled.stage("fast")
    opened = {
        f"{s.domain}/{s.source}/{s.digest}/{s.name}": s.tokens
        for s in open_shards(corpus.lake, corpus.snapshot, split="train")
    }
    data = StageData(stage, [opened[s.key] for s in stage.shards], seed=7, eos_id=EOS)
    assert len(data) == stage.samples
    loader = DataLoader(data, batch_size=stage.sequences_per_step)
    for step, loaded in zip(range(3), loader, strict=False):
        first = step * stage.sequences_per_step
        samples = data.samples(first, first + stage.sequences_per_step)
        batch = data.read(samples)
        assert torch.equal(loaded["input_ids"], torch.from_numpy(batch.input_ids))
        assert torch.equal(loaded["targets"], torch.from_numpy(batch.targets))
        assert data.tokens_by_source(samples).total() == batch.target_tokens


def test_one_epoch_reads_the_corpus_and_nothing_else(corpus: Corpus, compiled: CompiledPlan) -> None:
    """Through real shards: the targets of a component's first epoch are its shards' tokens."""
    stage = compiled.stage("fast")
    opened = {
        f"{s.domain}/{s.source}/{s.digest}/{s.name}": s.tokens
        for s in open_shards(corpus.lake, corpus.snapshot, split="train")
    }
    data = StageData(stage, [opened[s.key] for s in stage.shards], seed=7, eos_id=EOS)
    component = next(i for i, c in enumerate(stage.components) if c.samples >= c.windows)
    first_epoch = [s for s in data.stream if s.component == component and s.epoch == 0]
    targets = data.read(first_epoch).targets
    read = np.sort(targets[targets != IGNORED])
    whole = np.sort(np.concatenate([opened[s.key] for s in stage.components[component].shards]))
    assert np.array_equal(read, whole)
