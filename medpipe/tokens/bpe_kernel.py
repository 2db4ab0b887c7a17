"""Byte-level BPE from the UTF-8 bytes of a column to ids: no Python object a token, no lock meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medpipe.records.utf8 import compiled, decode
from medpipe.tokens.cut_kernel import Bytes, piece_end
from medpipe.tokens.merge_kernel import Ids, merge_long, merge_short

_SCRATCH = 128
"""A longer piece, in bytes, is merged with a heap: looking at every pair for every merge is quadratic."""
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@compiled
def _symbols(
    data: Bytes, at: int, stop: int, byte_ids: Ids, whole: NDArray[np.int32], ids: NDArray[Any]
) -> np.int64:
    """Writes what merging starts from: characters where that is as good, else bytes; returns how many."""
    count, place = _ZERO, at
    while place < stop:
        code, width = decode(data, place)
        symbol = whole[code]
        if symbol >= 0:
            ids[count] = symbol
            count += _ONE
        else:
            for byte in range(place, place + width):
                ids[count] = byte_ids[data[byte]]
                count += _ONE
        place += width
    return np.int64(count)


@compiled
def encode_texts(
    data: Bytes,
    offsets: Ids,
    classes: Bytes,
    byte_ids: Ids,
    whole: NDArray[np.int32],
    pairs: Ids,
    shift: np.uint64,
    eos_id: int,
    out: NDArray[np.uint16 | np.int32],
    lengths: Ids,
) -> np.int64:
    """Encodes rows of UTF-8, each with `eos_id` behind it.

    Args:
        data: UTF-8 bytes.
        offsets: row `n` is `data[offsets[n]:offsets[n + 1]]`.
        classes: class of each code point.
        byte_ids: id of each byte.
        whole: id of each code point that may be merged before its neighbours are looked at, else -1.
        pairs: see `find_pair`.
        shift: see `find_pair`.
        eos_id: appended to each row.
        out: takes the ids; at least as long as bytes and rows together.
        lengths: takes the number of ids of each row, with the last.

    Returns:
        How many ids were written; -1 - code point where a class is `UNKNOWN`, with nothing promised of
        what was written.
    """
    ids = np.empty(_SCRATCH + 1, np.int64)
    values = np.empty(_SCRATCH + 1, np.int64)
    written = np.int64(0)
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        begun = written
        while at < end:
            stop = piece_end(data, at, end, classes)
            if stop < 0:
                return np.int64(stop)
            if stop - at <= _SCRATCH:
                count = _symbols(data, at, stop, byte_ids, whole, ids)
                if count > 1:
                    count = merge_short(pairs, shift, ids, values, count)
                for place in range(count):
                    out[written + place] = ids[place]
            else:
                many = np.empty(stop - at, np.int32)
                count = _symbols(data, at, stop, byte_ids, whole, many)
                merged = merge_long(pairs, shift, many[:count])
                count = np.int64(len(merged))
                for place in range(count):
                    out[written + place] = merged[place]
            written += count
            at = stop
        out[written] = eos_id
        written += 1
        lengths[row] = written - begun
    return written
