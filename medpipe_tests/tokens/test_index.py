"""Megatron's index, byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.tokens.index import TokenIndex, read_index
from medpipe.tokens.vocabulary import ShardError


def test_golden_bytes() -> None:
    """Three documents of 3, 1 and 5 tokens as uint16, written out by hand from the format's description."""
    golden = bytes.fromhex(
        "4d4d494449445800 00"  # MMIDIDX and two zero bytes
        "0100000000000000"  # version 1
        "08"  # uint16
        "0300000000000000"  # sequences
        "0400000000000000"  # entries of the document table
        "03000000 01000000 05000000"  # lengths in tokens
        "0000000000000000 0600000000000000 0800000000000000"  # offsets in bytes
        "0000000000000000 0100000000000000 0200000000000000 0300000000000000"
    )
    assert TokenIndex("uint16", np.array([3, 1, 5], dtype=np.int32)).to_bytes() == golden


def test_int32_has_its_own_code_and_byte_offsets() -> None:
    data = TokenIndex("int32", np.array([3, 1], dtype=np.int32)).to_bytes()
    assert data[17] == 4
    assert struct.unpack_from("<2q", data, 34 + 8) == (0, 12)


@given(st.lists(st.integers(1, 2**31 - 1), max_size=50), st.sampled_from(["uint16", "int32"]))
def test_reading_gives_back_what_was_written(tmp_path_factory, lengths: list[int], dtype: str) -> None:
    path = tmp_path_factory.mktemp("index") / "00000.idx"
    path.write_bytes(TokenIndex(dtype, np.array(lengths, dtype=np.int32)).to_bytes())
    index = read_index(path)
    assert index.dtype == dtype
    assert index.lengths.tolist() == lengths
    assert index.ends.tolist() == np.cumsum(lengths, dtype=np.int64).tolist()
    assert path.stat().st_size == 42 + 20 * len(lengths)


@pytest.mark.parametrize("cut", [0, 10, 33, 40, 101])
def test_a_cut_off_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "00000.idx"
    data = TokenIndex("uint16", np.array([3, 1, 5], dtype=np.int32)).to_bytes()
    path.write_bytes(data[:cut])
    with pytest.raises(ShardError, match="materialise"):
        read_index(path)


@pytest.mark.parametrize("position", [0, 9, 17, 18, 34, 46, 80])
def test_a_changed_byte_is_refused(tmp_path: Path, position: int) -> None:
    path = tmp_path / "00000.idx"
    data = bytearray(TokenIndex("uint16", np.array([3, 1, 5], dtype=np.int32)).to_bytes())
    data[position] ^= 0x02
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"00000\.idx"):
        read_index(path)
