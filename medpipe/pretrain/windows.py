"""Windows of a stage: one as a record, many as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import overload

import numpy as np

from medpipe.pretrain.permutation import Integers


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


@dataclass(frozen=True, eq=False)
class Windows(Sequence[Sample]):
    """A sequence of windows, held as one array [samples] for each field of `Sample`."""

    shard: Integers
    offset: Integers
    length: Integers
    component: Integers
    epoch: Integers

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Windows:
        """Windows from a sequence of records."""
        if isinstance(samples, Windows):
            return samples
        rows = np.array([astuple(sample) for sample in samples], dtype=np.int64).reshape(-1, 5)
        return cls(*np.ascontiguousarray(rows.T))

    @classmethod
    def empty(cls, samples: int) -> Windows:
        """Room for this many windows."""
        return cls(*np.empty((5, samples), dtype=np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Windows]) -> Windows:
        """Several sequences as one."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*(part.arrays for part in parts), strict=True)))

    @property
    def arrays(self) -> tuple[Integers, Integers, Integers, Integers, Integers]:
        """The arrays in the order of the fields of `Sample`."""
        return self.shard, self.offset, self.length, self.component, self.epoch

    def __len__(self) -> int:
        return len(self.shard)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Windows: ...
    def __getitem__(self, index: int | slice) -> Sample | Windows:
        if isinstance(index, slice):
            return Windows(
                self.shard[index],
                self.offset[index],
                self.length[index],
                self.component[index],
                self.epoch[index],
            )
        return Sample(*(int(array[index]) for array in self.arrays))
