from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest

from medpipe.curate.near_duplicates import signatures as module
from medpipe.curate.near_duplicates.config import PERMUTATIONS, NearDuplicateConfig
from medpipe.curate.near_duplicates.signatures import compute_signatures, pieces
from medpipe.curate.near_duplicates.store import build_signatures, count_signatures, read_signatures
from medpipe.lake.layout import Lake
from medpipe_tests.curate.near_duplicates.planting import chinese_characters, plant


def signatures(*texts: str | None, lang: str = "zh") -> module.Signatures:
    return compute_signatures(
        pl.Series(texts, dtype=pl.String), pl.Series([lang] * len(texts), dtype=pl.String)
    )


def random_texts(count: int) -> list[str]:
    random = Random(5)
    return ["".join(chinese_characters(random, random.randint(0, 200))) for _ in range(count)]


def test_a_signature_takes_at_most_64_bytes_and_estimates_similarity() -> None:
    pairs = plant(2, 150, english=False, levels=(0.5, 0.7, 0.8, 0.9))
    found = signatures(*(text for pair in pairs for text in (pair.one, pair.other)))
    assert found.dtype == np.uint8
    assert found.shape[1] * found.itemsize <= 64
    errors = (found[::2] == found[1::2]).mean(axis=1) - [pair.similarity for pair in pairs]
    assert abs(errors.mean()) < 0.02
    assert errors.std() < 0.065


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = random_texts(700)
    whole = signatures(*texts)
    parts = [signatures(*texts[start : start + 7]) for start in range(0, 700, 7)]
    assert np.array_equal(whole, np.concatenate(parts))
    monkeypatch.setattr(module, "_PIECE_BYTES", 100)
    monkeypatch.setattr(module, "_CALL_ROWS", 3)
    monkeypatch.setattr(module, "_ROW_HASHES", 8)
    assert np.array_equal(whole, signatures(*texts))


def test_a_text_without_shingles_has_a_signature_of_zeros_and_others_do_not() -> None:
    found = signatures(None, "", "，。", "咳", "啊" * 5000, "\0\0")
    assert found.any(axis=1).tolist() == [False, False, False, True, True, False]
    assert signatures().shape == (0, PERMUTATIONS)


def test_a_document_of_50_mb() -> None:
    unit = "".join(chr(0x4E00 + number) for number in range(5000))
    long = unit * (50_000_000 // 15_000)
    [one, other, short] = signatures(long, "。" + long, unit + unit[:4])
    assert np.array_equal(one, other)
    assert np.array_equal(one, short)


def test_pieces_are_bounded_and_whole() -> None:
    texts = pl.Series(["a" * 10, None, "b" * 300, "", "c" * 10, "d" * 10])
    found = list(pieces(texts, limit=25))
    assert found == [(0, 2), (2, 1), (3, 3)]
    assert list(pieces(pl.Series([], dtype=pl.String))) == []


def test_stored_signatures_are_reused_until_something_changes(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    frame = pl.LazyFrame({"text": random_texts(50), "lang": ["zh"] * 50})
    built = build_signatures("one", frame, inputs={"normalized": "a"}, lake=lake)
    assert not built.reused
    assert built.dataset.manifest.rows == 50
    assert count_signatures(built.dataset) == 50
    assert np.array_equal(
        np.concatenate(list(read_signatures(built.dataset))), signatures(*frame.collect()["text"])
    )

    # A frame that cannot be read shows that nothing is computed.
    broken = pl.LazyFrame({"nothing": [1]})
    assert build_signatures("one", broken, inputs={"normalized": "a"}, lake=lake).reused
    other_threshold = NearDuplicateConfig(similarity=0.9)
    assert build_signatures(
        "one", broken, inputs={"normalized": "a"}, lake=lake, config=other_threshold
    ).reused
    assert not build_signatures("one", frame, inputs={"normalized": "b"}, lake=lake).reused
    longer = NearDuplicateConfig(characters=7)
    assert not build_signatures("one", frame, inputs={"normalized": "a"}, lake=lake, config=longer).reused
    assert not build_signatures("two", frame, inputs={"normalized": "a"}, lake=lake).reused


def test_an_empty_source_and_one_with_one_row_have_signatures(tmp_path: Path) -> None:
    for rows in (0, 1):
        frame = pl.LazyFrame(
            {"text": ["咳嗽"] * rows, "lang": ["zh"] * rows}, schema={"text": str, "lang": str}
        )
        built = build_signatures(f"s{rows}", frame, inputs={}, lake=Lake(tmp_path))
        assert count_signatures(built.dataset) == rows
        assert [chunk.shape for chunk in read_signatures(built.dataset)] == [(1, PERMUTATIONS)] * rows
