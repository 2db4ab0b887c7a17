"""Megatron-LM's `.idx`: where each document lies in a headerless `.bin`.

All little-endian: `MMIDIDX` and two zero bytes, u64 version 1, u8 dtype code, u64 number of sequences,
u64 number of entries of the document table, i32 length of each sequence in tokens, i64 byte offset of
each sequence, i64 document table (which sequence each document starts with, 0 first, so one entry more
than there are documents). Here a sequence is a document.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medpipe.tokens.vocabulary import ShardError, stored_dtype

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_HEADER = struct.Struct("<9sQBQQ")
_CODES = {"uint16": 8, "int32": 4}


@dataclass(frozen=True)
class TokenIndex:
    """Content of an `.idx` file."""

    dtype: str
    """`uint16` or `int32`."""
    lengths: npt.NDArray[np.int32]
    """Tokens of each document, with `<eos>`; shape (documents,)."""

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """Offset after the last token of each document, in tokens; shape (documents,)."""
        return np.cumsum(self.lengths, dtype=np.int64)

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        count = len(self.lengths)
        ends = self.ends * stored_dtype(self.dtype).itemsize
        return b"".join(
            (
                _HEADER.pack(_MAGIC, _VERSION, _CODES[self.dtype], count, count + 1),
                self.lengths.astype("<i4").tobytes(),
                np.concatenate([[0], ends])[:count].astype("<i8").tobytes(),
                np.arange(count + 1, dtype="<i8").tobytes(),
            )
        )


def read_index(path: Path) -> TokenIndex:
    """Reads an `.idx` file that has one sequence a document.

    Raises:
        ShardError: it is no such file, cut off, or its tables contradict each other.
    """
    data = path.read_bytes()
    fix = "materialise its shards again"
    if len(data) < _HEADER.size:
        raise ShardError(f"{path} is cut off at {len(data)} bytes; {fix}")
    magic, version, code, count, documents = _HEADER.unpack_from(data)
    names = {code: name for name, code in _CODES.items()}
    if magic != _MAGIC or version != _VERSION or code not in names:
        raise ShardError(f"{path} is no Megatron index of version 1 with uint16 or int32 tokens; {fix}")
    if documents != count + 1 or len(data) != _HEADER.size + 12 * count + 8 * documents:
        raise ShardError(f"{path} has {len(data)} bytes, which does not fit {count} documents; {fix}")
    lengths = np.frombuffer(data, "<i4", count, _HEADER.size)
    index = TokenIndex(names[code], lengths)
    if index.to_bytes() != data:
        raise ShardError(f"{path}: lengths and offsets contradict each other; {fix}")
    return index
