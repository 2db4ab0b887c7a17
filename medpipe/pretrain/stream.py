"""The sample stream: a pure function (stage digest, seed, sample index) -> (shard, offset, length).

A stage reads N windows. Each mixture component gets its share of them by largest remainder; a seeded
permutation of the N slots says which component a sample index draws from. The k-th sample of a component
with W windows is window `permutation[epoch][k mod W]` of epoch `k // W`, so that an epoch reads every
window once before the next one begins. Nothing is kept between samples: the cursor is one integer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medpipe.pretrain.permutation import Integers, seeded_permutation
from medpipe.pretrain.windows import Sample, Windows

__all__ = ["Integers", "Sample", "SampleStream", "Windows", "allocate", "window_count"]

_BLOCK = 4096
"""Windows that are computed at a time; steps are cut from them."""

_Components = npt.NDArray[np.int32]


class _Shard(Protocol):
    @property
    def tokens(self) -> int: ...


class _Component(Protocol):
    @property
    def samples(self) -> int: ...
    @property
    def shards(self) -> Sequence[_Shard]: ...


class _Stage(Protocol):
    @property
    def digest(self) -> str: ...
    @property
    def samples(self) -> int: ...
    @property
    def sequence_length(self) -> int: ...
    @property
    def components(self) -> Sequence[_Component]: ...


def allocate(samples: int, weights: Sequence[float | Fraction]) -> list[int]:
    """Shares whole samples out by weight: largest remainder, ties to the earlier entry."""
    if not weights:
        return []
    total = sum(Fraction(weight) for weight in weights)
    quotas = [samples * Fraction(weight) / total for weight in weights]
    counts = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(weights)), key=lambda i: (counts[i] - quotas[i], i))
    for index in by_remainder[: samples - sum(counts)]:
        counts[index] += 1
    return counts


def window_count(tokens: int, sequence_length: int) -> int:
    """Windows a shard is cut into; the last one may be shorter."""
    return -(-tokens // sequence_length)


class SampleStream:
    """The windows of one stage in the order they are read; indexing has no side effect on the result."""

    def __init__(self, stage: _Stage, *, seed: int) -> None:
        """Lays the stream out; no shard is opened.

        Args:
            stage: the compiled stage.
            seed: the run's seed.
        """
        self._key = (stage.digest, seed)
        self._length = stage.sequence_length
        counts = [component.samples for component in stage.components]
        if sum(counts) != stage.samples:
            raise ValueError(f"components have {sum(counts)} samples, the stage {stage.samples}")
        slots: _Components = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._component = slots[seeded_permutation(len(slots), *self._key, "slots")]
        self._before = _counts_before_blocks(self._component, len(counts))
        tokens = [np.array([s.tokens for s in c.shards], dtype=np.int64) for c in stage.components]
        self._shard_tokens = tokens
        self._window_ends = [np.cumsum(-(-sizes // self._length)) for sizes in tokens]
        self._first_shard = [0, *itertools.accumulate(len(c.shards) for c in stage.components)]
        self._epochs: dict[tuple[int, int], Integers] = {}
        self._blocks: dict[int, Windows] = {}

    def __len__(self) -> int:
        return len(self._component)

    def __getitem__(self, index: int) -> Sample:
        """The window of one sample index.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} is not in the stage's {len(self)} samples")
        component = int(self._component[index])
        block = index // _BLOCK
        in_block = int(np.count_nonzero(self._component[block * _BLOCK : index] == component))
        rank = int(self._before[block, component]) + in_block
        ends = self._window_ends[component]
        epoch, place = divmod(rank, int(ends[-1]))
        window = int(self._epoch(component, epoch)[place])
        shard = int(np.searchsorted(ends, window, side="right"))
        offset = (window - (int(ends[shard - 1]) if shard else 0)) * self._length
        length = min(self._length, int(self._shard_tokens[component][shard]) - offset)
        return Sample(self._first_shard[component] + shard, offset, length, component, epoch)

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _BLOCK):
            yield from self.windows(start, min(start + _BLOCK, len(self)))

    def windows(self, start: int, stop: int) -> Windows:
        """The windows of a range of sample indices: what indexing gives one by one, many at a time.

        Raises:
            IndexError: the range does not lie within the stream.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"samples [{start}, {stop}) are not in the stage's {len(self)} samples")
        first, last = start // _BLOCK, max(stop - 1, start) // _BLOCK
        if first == last:
            return self._block(first)[start - first * _BLOCK : stop - first * _BLOCK]
        parts = [self._block(block) for block in range(first, last + 1)]
        return Windows.joined(parts)[start - first * _BLOCK : stop - first * _BLOCK]

    def find(self, shard: int, start: int, stop: int) -> Integers:
        """The sample indices that read any of a range of tokens: the inverse of indexing.

        A token is read as the target of its window, and as the input before its neighbour: the first token
        behind a range, where there is one, has the last token of the range as its input.

        Args:
            shard: index into the stage's shards.
            start: first token of the range.
            stop: behind its last token.

        Returns:
            Indices in rising order, each once.

        Raises:
            IndexError: the stage has no such shard, or the shard no such tokens.
        """
        component = int(np.searchsorted(self._first_shard, shard, side="right")) - 1
        if not 0 <= shard < self._first_shard[-1]:
            raise IndexError(f"shard {shard} is not one of the stage's {self._first_shard[-1]}")
        place = shard - self._first_shard[component]
        tokens = int(self._shard_tokens[component][place])
        if not 0 <= start < stop <= tokens:
            raise IndexError(f"[{start}, {stop}) is no range of the {tokens} tokens of shard {shard}")
        ends = self._window_ends[component]
        before = int(ends[place - 1]) if place else 0
        first, last = before + start // self._length, before + min(stop, tokens - 1) // self._length
        slots = np.flatnonzero(self._component == component)
        ranks = []
        for epoch in range(-(-len(slots) // int(ends[-1]))):
            order = self._epoch(component, epoch)
            ranks.append(np.flatnonzero((order >= first) & (order <= last)) + epoch * int(ends[-1]))
        found = np.concatenate(ranks) if ranks else np.empty(0, dtype=np.int64)
        return slots[found[found < len(slots)]]

    def _block(self, number: int) -> Windows:
        """The windows of one block of sample indices; the two newest blocks are kept."""
        block = self._blocks.get(number)
        if block is None:
            block = self._compute_block(number)
            while len(self._blocks) > 1:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[number] = block
        return block

    def _compute_block(self, number: int) -> Windows:
        components = self._component[number * _BLOCK : (number + 1) * _BLOCK]
        block = Windows.empty(len(components))
        block.component[:] = components
        for component in np.unique(components).tolist():
            places = np.flatnonzero(components == component)
            ends = self._window_ends[component]
            ranks = self._before[number, component] + np.arange(len(places))
            epochs, in_epoch = np.divmod(ranks, ends[-1])
            borders = np.searchsorted(epochs, np.arange(epochs[0], epochs[-1] + 2))
            windows = np.concatenate(
                [
                    self._epoch(component, int(epochs[first]))[in_epoch[first:last]]
                    for first, last in itertools.pairwise(borders.tolist())
                ]
            )
            shards = np.searchsorted(ends, windows, side="right")
            offsets = (windows - np.concatenate([[0], ends])[shards]) * self._length
            block.shard[places] = self._first_shard[component] + shards
            block.offset[places] = offsets
            block.length[places] = np.minimum(self._length, self._shard_tokens[component][shards] - offsets)
            block.epoch[places] = epochs
        return block

    def _epoch(self, component: int, epoch: int) -> Integers:
        """Order of a component's windows in one epoch; the two newest epochs a component are kept."""
        order = self._epochs.get((component, epoch))
        if order is None:
            windows = int(self._window_ends[component][-1])
            order = seeded_permutation(windows, *self._key, component, epoch)
            self._epochs.pop((component, epoch - 2), None)
            self._epochs[component, epoch] = order
        return order


def _counts_before_blocks(components: _Components, number: int) -> Integers:
    """How many entries of each component stand before each block, [blocks + 1, components]."""
    blocks = -(-len(components) // _BLOCK)
    counts = np.zeros((blocks + 1, number), dtype=np.int64)
    for block in range(blocks):
        counts[block + 1] = np.bincount(components[block * _BLOCK : (block + 1) * _BLOCK], minlength=number)
    return np.cumsum(counts, axis=0)
