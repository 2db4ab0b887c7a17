"""Deciding between UTF-8 and GB18030."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.ingest import encoding
from medpipe.ingest.encoding import MARK, decode_marking, detect_encoding

TEXT = "患者头痛发热三日，伴咳嗽、咳痰。Take 2 tablets.\n"


def write(folder: Path, data: bytes) -> Path:
    path = folder / "a.txt"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "gb18030", "gbk", "gb2312"])
@pytest.mark.parametrize("repeats", [1, 5_000])
def test_whole_files(tmp_path: Path, name: str, repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", 1_001)
    expected = "utf-8" if name.startswith("utf") else "gb18030"
    assert detect_encoding(write(tmp_path, (TEXT * repeats).encode(name))) == expected


@pytest.mark.parametrize("name", ["utf-8", "gb18030"])
def test_some_damage_changes_nothing(tmp_path: Path, name: str) -> None:
    data = (TEXT * 20).encode(name)
    damaged = data[:100] + b"\xff" + data[100:501] + b"\x80\xff" + data[501:]
    assert detect_encoding(write(tmp_path, damaged)) == name


def test_enough_evidence_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", 1_000)
    monkeypatch.setattr(encoding, "_ENOUGH_EVIDENCE", 50)
    assert detect_encoding(write(tmp_path, (TEXT * 100).encode("gb18030") + b"\xff" * 5_000)) == "gb18030"


def test_enough_good_text_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", 1_000)
    monkeypatch.setattr(encoding, "_ENOUGH_TEXT", 1_000)
    path = write(tmp_path, (TEXT * 100).encode() + (TEXT * 5_000).encode("gb18030"))
    assert detect_encoding(path) == "utf-8"
    monkeypatch.setattr(encoding, "_ENOUGH_TEXT", 100_000)
    assert detect_encoding(path) == "gb18030"


@pytest.mark.parametrize("repeats", [1, 5_000])
def test_english_text_of_windows(tmp_path: Path, repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", 1_001)
    data = (
        "Don\u2019t take 5 \u00b5g \u2013 caf\u00e9; Sj\u00f6gren, M\u00e9ni\u00e8re.\n" * repeats
    ).encode("cp1252")
    assert detect_encoding(write(tmp_path, data)) == "cp1252"


def test_english_text_with_damage_stays_utf8(tmp_path: Path) -> None:
    assert detect_encoding(write(tmp_path, b"take one\n" * 50 + b"\xff\n" + b"take two\n" * 50)) == "utf-8"


@pytest.mark.parametrize("data", [b"", b"plain ASCII\n", "\ufffd published as such".encode()])
def test_utf8_where_nothing_speaks_against_it(tmp_path: Path, data: bytes) -> None:
    assert detect_encoding(write(tmp_path, data)) == "utf-8"


def test_a_few_chinese_characters_at_the_end_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", 1_000)
    assert detect_encoding(write(tmp_path, b"x" * 5_000 + "患".encode("gb18030"))) == "gb18030"
    assert detect_encoding(write(tmp_path, b"x" * 5_000 + "患".encode())) == "utf-8"


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(codec="gb18030", exclude_categories=["Cs"], exclude_characters=MARK)),
    name=st.sampled_from(["utf-8", "gb18030"]),
    cuts=st.lists(st.integers(0, 40)),
)
def test_decoding_in_pieces_is_decoding_at_once(text: str, name: str, cuts: list[int]) -> None:
    data = text.encode(name)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    out, rest = "", b""
    for start, end in pairwise(bounds):
        piece, illegal, left = decode_marking(
            rest + data[start:end], name, offset=start - len(rest), final=False
        )
        assert illegal == []
        out, rest = out + piece, left
    assert (out, rest) == (text, b"")


@pytest.mark.parametrize("name", ["utf-8", "gb18030"])
def test_illegal_bytes_are_marked_with_their_offset(name: str) -> None:
    good = "痛".encode(name)
    data = good + b"\xff" + good + good[:1]
    text, illegal, rest = decode_marking(data, name, offset=100, final=False)
    assert (text, rest) == (f"痛{MARK}痛", good[:1])
    assert illegal == [(0xFF, 100 + len(good))]
    text, illegal, rest = decode_marking(data, name, offset=100, final=True)
    assert (text, rest) == (f"痛{MARK}痛{MARK}", b"")
    assert illegal[1] == (good[0], 100 + len(data) - 1)
