"""The loop that lays token ids out as a batch, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medpipe.records.utf8 import compiled


@compiled
def lay_out(
    ids: NDArray[np.int32], lengths: NDArray[np.int64], eos_id: int, ignored: int, arrays: NDArray[np.int64]
) -> None:
    """Fills the arrays of a batch; see `medpipe.pretrain.batch` for what they mean.

    Args:
        ids: [B, T + 1], each row the token before a window and then its targets; what lies behind a window's
            length is not read.
        lengths: [B], targets of each window.
        eos_id: id of `<eos>`: begins a segment where it is an input, and is the input of a padded position.
        ignored: target of a padded position.
        arrays: takes inputs, targets, positions and segments, [4, B, T].
    """
    rows, width = arrays.shape[1], arrays.shape[2]
    for row in range(rows):
        length = lengths[row]
        position, segment = -1, 0
        for place in range(width):
            is_real = place < length
            token = ids[row, place] if is_real else eos_id
            if token == eos_id:
                position, segment = 0, segment + 1
            else:
                position += 1
            arrays[0, row, place] = token
            arrays[1, row, place] = ids[row, place + 1] if is_real else ignored
            arrays[2, row, place] = position
            arrays[3, row, place] = segment
