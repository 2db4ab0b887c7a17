"""The integer type of ids, and that nothing wraps around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.tokens.vocabulary import ShardError, checked_cast, dtype_of, stored_dtype


@pytest.mark.parametrize(
    ("vocabulary_size", "dtype"),
    [(65_535, "uint16"), (65_536, "uint16"), (65_537, "int32"), (151_936, "int32")],
)
def test_uint16_holds_ids_up_to_65535(vocabulary_size: int, dtype: str) -> None:
    assert dtype_of(vocabulary_size) == dtype
    largest = np.array([0, vocabulary_size - 1], dtype=np.int64)
    cast = checked_cast(largest, dtype, vocabulary_size=vocabulary_size)
    assert cast.tolist() == largest.tolist()
    assert cast.dtype == stored_dtype(dtype)


@pytest.mark.parametrize(
    ("wrong", "dtype", "vocabulary_size"),
    [(65_536, "uint16", 70_000), (-1, "uint16", 70_000), (2**31, "int32", 2**33), (600, "uint16", 600)],
)
def test_an_id_that_would_wrap_or_is_unknown_is_refused(wrong: int, dtype: str, vocabulary_size: int) -> None:
    with pytest.raises(ShardError, match=f"{wrong:,} does not fit {dtype}"):
        checked_cast(np.array([1, wrong, 2], dtype=np.int64), dtype, vocabulary_size=vocabulary_size)


@given(st.lists(st.integers(-(2**40), 2**40)), st.sampled_from(["uint16", "int32"]))
def test_a_cast_is_exact_or_refused(ids: list[int], dtype: str) -> None:
    wide = np.array(ids, dtype=np.int64)
    try:
        assert checked_cast(wide, dtype, vocabulary_size=2**50).tolist() == ids
    except ShardError:
        limits = np.iinfo(stored_dtype(dtype))
        assert min(ids) < 0 or max(ids) > limits.max


def test_other_types_are_refused() -> None:
    with pytest.raises(ShardError, match="float32"):
        stored_dtype("float32")
