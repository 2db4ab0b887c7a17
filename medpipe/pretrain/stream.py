"""The sample stream: a pure function (stage digest, seed, sample index) -> (shard, offset, length).

A stage reads N windows. Each mixture component gets its share of them by largest remainder; a seeded
permutation of the N slots says which component a sample index draws from. The k-th sample of a component
with W windows is window `permutation[epoch][k mod W]` of epoch `k // W`, so that an epoch reads every
window once before the next one begins. Nothing is kept between samples: the cursor is one integer.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


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


@dataclass(frozen=True)
class Sample:
    """One window: the range of target tokens in a shard."""

    shard: int
    """Index into the stage's shards."""
    offset: int
    """First target token."""
    length: int
    """Target tokens; fewer than the sequence length only at a shard's end."""
    component: int
    """Index of the mixture entry."""
    epoch: int
    """Passes over the component that were complete before."""


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


def seeded_permutation(length: int, *key: object) -> Integers:
    """Permutation of `range(length)` that depends on the key alone.

    It sorts the raw output of the Philox counter-based generator, which NumPy keeps stable over versions
    (its shuffles are not).
    """
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=16).digest()
    raw = np.random.Philox(key=np.frombuffer(digest, dtype="<u8")).random_raw(length)
    return np.argsort(raw, kind="stable")


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
        slots = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._component = slots[seeded_permutation(len(slots), *self._key, "slots")]
        self._rank = _rank_within_groups(self._component, counts)
        tokens = [np.array([s.tokens for s in c.shards], dtype=np.int64) for c in stage.components]
        self._shard_tokens = tokens
        self._window_ends = [np.cumsum(-(-sizes // self._length)) for sizes in tokens]
        self._first_shard = [0, *itertools.accumulate(len(c.shards) for c in stage.components)]
        self._epochs: dict[tuple[int, int], Integers] = {}

    def __len__(self) -> int:
        return len(self._component)

    def __getitem__(self, index: int) -> Sample:
        """The window of one sample index.

        Raises:
            IndexError: the index is negative or not below the length.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} is not in the stage's {len(self)} samples")
        component, rank = int(self._component[index]), int(self._rank[index])
        ends = self._window_ends[component]
        epoch, place = divmod(rank, int(ends[-1]))
        window = int(self._epoch(component, epoch)[place])
        shard = int(np.searchsorted(ends, window, side="right"))
        offset = (window - (int(ends[shard - 1]) if shard else 0)) * self._length
        length = min(self._length, int(self._shard_tokens[component][shard]) - offset)
        return Sample(self._first_shard[component] + shard, offset, length, component, epoch)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

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

    def _epoch(self, component: int, epoch: int) -> Integers:
        """Order of a component's windows in one epoch; the two newest epochs a component are kept."""
        order = self._epochs.get((component, epoch))
        if order is None:
            windows = int(self._window_ends[component][-1])
            order = seeded_permutation(windows, *self._key, component, epoch)
            self._epochs.pop((component, epoch - 2), None)
            self._epochs[component, epoch] = order
        return order


def _rank_within_groups(groups: npt.NDArray[np.int32], counts: Sequence[int]) -> Integers:
    """How many equal entries stand before each entry."""
    ranks = np.empty(len(groups), dtype=np.int64)
    order = np.argsort(groups, kind="stable")
    ranks[order] = np.concatenate([np.arange(count) for count in counts]) if counts else 0
    return ranks
