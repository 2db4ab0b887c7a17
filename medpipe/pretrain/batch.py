"""Assembles windows into arrays: inputs, targets, positions, segments.

A window is a range of target tokens. Its input is the token before the range (`<eos>` at a shard's
start) followed by the targets without the last one, so every token of a shard is a target exactly once
an epoch. An `<eos>` in the input begins a segment: it serves as the begin-of-document mark of the text
behind it. Positions start anew there, and attention stays inside a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medpipe.pretrain.permutation import Integers

IGNORED = -100
"""Target of a padded position; cross entropy leaves it out."""

Tokens = npt.NDArray[Any]
"""Token ids of a shard: uint16 or int32, usually mapped from its file."""


@dataclass(frozen=True)
class Batch:
    """Arrays of shape [B, T] and dtype int64."""

    input_ids: Integers
    targets: Integers
    """Next tokens; `IGNORED` at padded positions."""
    position_ids: Integers
    """Position within the segment."""
    segment_ids: Integers
    """Number of the document within the window; a position attends only to equal numbers."""

    @property
    def target_tokens(self) -> int:
        """Positions that count in the loss."""
        return int((self.targets != IGNORED).sum())

    def rows(self, start: int, stop: int) -> Batch:
        """The sequences from `start` up to `stop`."""
        part = slice(start, stop)
        return Batch(
            self.input_ids[part], self.targets[part], self.position_ids[part], self.segment_ids[part]
        )


def assemble(windows: Sequence[tuple[Tokens, int, int]], *, sequence_length: int, eos_id: int) -> Batch:
    """Reads windows into one batch.

    Args:
        windows: (tokens of the shard, offset, length) each. A plain array is read faster than a np.memmap;
            `np.asarray` makes one of it without a copy.
        sequence_length: T; shorter windows are padded with `<eos>` inputs and `IGNORED` targets.
        eos_id: id of `<eos>`.
    """
    # Imported here: numba takes a third of a second.
    from medpipe.pretrain.batch_kernel import lay_out

    ids = np.empty((len(windows), sequence_length + 1), dtype=np.int32)
    lengths = np.empty(len(windows), dtype=np.int64)
    for row, (tokens, offset, length) in enumerate(windows):
        lengths[row] = length
        if offset:
            ids[row, : length + 1] = tokens[offset - 1 : offset + length]
        else:
            ids[row, 0] = eos_id
            ids[row, 1 : length + 1] = tokens[:length]
    arrays = np.empty((4, len(windows), sequence_length), dtype=np.int64)
    lay_out(ids, lengths, eos_id, IGNORED, arrays)
    inputs, targets, positions, segments = arrays
    return Batch(inputs, targets, positions, segments)
