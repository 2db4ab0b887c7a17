"""Text as compiled loops read it: the UTF-8 bytes of a column, and tables over all code points.

What a regular expression does to a long text in several passes, such a loop does in one, without Python's
lock, so that two batches really run side by side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

CODE_POINTS = 0x110000
_SURROGATES = (0xD800, 0xE000)

_ONE, _TWO, _THREE = np.uintp(1), np.uintp(2), np.uintp(3)
"""Unsigned: for a signed index numba asks each time whether it counts from the end."""

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(function: Loop) -> Loop:
    """Compiles a function to machine code on first call, kept on disk for the next process.

    The code is kept beside the source file, else in the user's cache folder or `NUMBA_CACHE_DIR`; where none
    of them can be written, each process compiles for itself. A change to a function that is called from
    another file shows only after that file has changed too.
    """
    with contextlib.suppress(RuntimeError):
        return cast(Loop, njit(nogil=True, cache=True)(function))
    return cast(Loop, njit(nogil=True)(function))


@compiled
def decode(data: NDArray[np.uint8], at: int) -> tuple[np.int64, int]:
    """The code point that starts at a byte of valid UTF-8, and its length in bytes."""
    place = np.uintp(at)
    first = np.int64(data[place])
    if first < 0x80:
        return first, 1
    second = np.int64(data[place + _ONE]) & 0x3F
    if first < 0xE0:
        return (first & 0x1F) << 6 | second, 2
    third = np.int64(data[place + _TWO]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, 3
    return (first & 0x07) << 18 | second << 12 | third << 6 | np.int64(data[place + _THREE]) & 0x3F, 4


class Utf8(NamedTuple):
    """The strings of a column, one after the other; row `n` is `data[offsets[n]:offsets[n + 1]]`."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    """One more than there are rows."""


def utf8_of(column: pl.Series) -> Utf8:
    """The bytes of a String column; a null has none."""
    if column.null_count():
        # What was nulled later than written still has its bytes.
        column = column.fill_null("")
    array = column.rechunk().to_arrow()
    _, offsets, data = array.buffers()
    if data is None or data.size == 0:
        return Utf8(np.zeros(0, np.uint8), np.zeros(len(column) + 1, np.int64))
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return Utf8(np.frombuffer(data, np.uint8), ends)


def strings_of(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> pl.Series:
    """The String column whose row `n` is `data[ends[n]:ends[n + 1]]`; the bytes must be valid UTF-8."""
    import pyarrow as pa

    buffers = pa.py_buffer(ends), pa.py_buffer(data[: ends[-1]])
    return pl.Series(pl.from_arrow(pa.LargeStringArray.from_buffers(len(ends) - 1, *buffers)))


@lru_cache(maxsize=1)
def _every_character() -> pl.Series:
    below, above = _SURROGATES
    every = np.r_[np.arange(below, dtype=np.uint32), np.arange(above, CODE_POINTS, dtype=np.uint32)]
    return pl.Series([every.tobytes().decode("utf-32-le")])


def code_points(pattern: str) -> NDArray[np.uint32]:
    r"""All code points that a class such as `\p{P}` holds, as Polars' regular expressions see it."""
    found: str = _every_character().str.extract_all(f"(?:{pattern})+").list.join("").item()
    return np.frombuffer(found.encode("utf-32-le"), np.uint32)
