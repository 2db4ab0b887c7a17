"""A stage's sample stream as data: NumPy batches for the loop, a torch Dataset for any DataLoader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from medpipe.pretrain.batch import Batch, Tokens, assemble
from medpipe.pretrain.compile import CompiledStage
from medpipe.pretrain.stream import SampleStream
from medpipe.pretrain.windows import Sample, Windows


def batch_tensors(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """The four arrays of a batch as int64 tensors [B, T] on a device."""
    arrays = {
        "input_ids": batch.input_ids,
        "targets": batch.targets,
        "position_ids": batch.position_ids,
        "segment_ids": batch.segment_ids,
    }
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


class StageData(Dataset[dict[str, Tensor]]):
    """All windows of one stage in training order.

    `stage_data[i]` is sample i as tensors [T], so that a DataLoader without shuffling yields the batches
    that the training loop sees.
    """

    def __init__(self, stage: CompiledStage, tokens: Sequence[Tokens], *, seed: int, eos_id: int) -> None:
        """Lays the stream out.

        Args:
            stage: the compiled stage.
            tokens: the tokens of each of `stage.shards`, in that order.
            seed: the run's seed.
            eos_id: id of `<eos>`.
        """
        self.stage = stage
        self.stream = SampleStream(stage, seed=seed)
        self._tokens = [np.asarray(ids) for ids in tokens]
        self._sources = sorted({shard.source for shard in stage.shards})
        self._source_of_shard = np.array([self._sources.index(shard.source) for shard in stage.shards])
        self._eos_id = eos_id

    def __len__(self) -> int:
        return len(self.stream)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Tensors [T] of one sample."""
        batch = self.read([self.stream[index]])
        return {name: tensor[0] for name, tensor in batch_tensors(batch, torch.device("cpu")).items()}

    def samples(self, start: int, stop: int) -> Windows:
        """The windows of a range of sample indices."""
        return self.stream.windows(start, stop)

    def read(self, samples: Sequence[Sample]) -> Batch:
        """Windows as one batch."""
        windows = Windows.of(samples)
        tokens = self._tokens
        return assemble(
            [
                (tokens[shard], offset, length)
                for shard, offset, length in zip(
                    windows.shard.tolist(), windows.offset.tolist(), windows.length.tolist(), strict=True
                )
            ],
            sequence_length=self.stage.sequence_length,
            eos_id=self._eos_id,
        )

    def tokens_by_source(self, samples: Sequence[Sample]) -> Counter[str]:
        """Target tokens of windows, by source."""
        windows = Windows.of(samples)
        sources = self._source_of_shard[windows.shard]
        counts = np.bincount(sources, weights=windows.length, minlength=len(self._sources))
        return Counter({name: int(count) for name, count in zip(self._sources, counts, strict=True) if count})

    def describe(self, samples: Sequence[Sample], *, most: int = 4) -> str:
        """Names windows for a person: shard and token range."""
        shards = self.stage.shards
        names = [f"{shards[s.shard].key}[{s.offset}:{s.offset + s.length}]" for s in samples[:most]]
        more = len(samples) - len(names)
        return ", ".join(names) + (f" and {more} more" if more else "")
