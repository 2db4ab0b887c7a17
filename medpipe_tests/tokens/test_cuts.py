"""Cuts depend on the documents around them, not on batches and not on what lies far away."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.tokens.cuts import Chunk, ChunkCutter, chunk_ends, find_chunks, is_marked, least_text
from medpipe.tokens.sample import draw

LEAST = 1000
SPLITS = ("train", "validation")


def documents(numbers: list[int]) -> pl.DataFrame:
    """A document a number: its size and its mark follow from the number."""
    return pl.DataFrame(
        {
            "id": [hashlib.md5(str(n).encode()).hexdigest() for n in numbers],
            "lang": ["zh" if n % 3 else "en" for n in numbers],
            "split": [SPLITS[n % 5 == 0] for n in numbers],
            "tier": ["raw"] * len(numbers),
            "text": ["病" * (n * 7919 % 90) for n in numbers],
        },
        schema=dict.fromkeys(("id", "lang", "split", "tier", "text"), pl.String),
    )


def chunks_of(frame: pl.DataFrame, *, rows: int = 200) -> list[Chunk]:
    return find_chunks(frame.iter_slices(rows), least=LEAST)


@settings(max_examples=25, deadline=None)
@given(numbers=st.lists(st.integers(0, 10**6), max_size=120, unique=True), rows=st.integers(1, 130))
def test_batches_do_not_matter(numbers: list[int], rows: int) -> None:
    frame = documents(numbers)
    whole = chunks_of(frame, rows=1000)
    assert sorted(chunks_of(frame, rows=rows), key=lambda c: c.first_row) == sorted(
        whole, key=lambda c: c.first_row
    )
    cutter = ChunkCutter(LEAST)
    placed = [cutter.cut(batch) for batch in frame.iter_slices(rows)]
    assert {c.first_row: c for c in cutter.finish()} == {c.first_row: c for c in whole}
    table = pl.concat(placed) if placed else frame.with_columns(chunk=pl.lit(0), place=pl.lit(0))
    for chunk in whole:
        own = table.filter(pl.col("chunk") == chunk.first_row)
        assert own.height == chunk.documents and own["text_bytes"].sum() == chunk.text_bytes
        assert own["place"].to_list() == list(range(chunk.documents))
        assert set(own["split"]) == {chunk.split}
        assert table.with_row_index()[chunk.first_row]["chunk"].item() == chunk.first_row
    assert sum(chunk.documents for chunk in whole) == frame.height


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.integers(0, 399), other=st.integers(10**7, 10**8))
@pytest.mark.parametrize("change", ["removed", "inserted", "changed"])
def test_one_document_changes_three_chunks_at_most(change: str, seed: int, at: int, other: int) -> None:
    numbers = list(range(seed, seed + 400))
    # In the same run, or two runs would change.
    numbers_after = list(numbers)
    other = other * 5 + (0 if numbers[at] % 5 == 0 else 1)
    if change == "removed":
        del numbers_after[at]
    elif change == "inserted":
        numbers_after.insert(at, other)
    else:
        numbers_after[at] = other
    before = {chunk.digest for chunk in chunks_of(documents(numbers))}
    after = {chunk.digest for chunk in chunks_of(documents(numbers_after))}
    assert len(before) > 6
    assert 1 <= len(before - after) <= 3
    assert len(after - before) <= 3


def test_chunks_are_long_enough_and_as_long_as_stated() -> None:
    frame = documents(list(range(30_000)))
    chunks = sorted(find_chunks(frame.iter_slices(5000), least=LEAST), key=lambda c: c.first_row)
    for split in SPLITS:
        sizes = [chunk.text_bytes for chunk in chunks if chunk.split == split]
        assert min(sizes[:-1]) >= LEAST
        assert 2.2 * LEAST < np.mean(sizes) < 3.2 * LEAST


def test_the_digest_holds_texts_ids_languages_and_their_order() -> None:
    frame = documents([1, 2, 3, 4])
    (chunk,) = find_chunks([frame], least=10**6)
    others = [
        frame.reverse(),
        frame.with_columns(id=pl.col("id").reverse()),
        frame.with_columns(text=pl.col("text") + " "),
        frame.with_columns(lang=pl.lit("other")),
        # The same characters, cut between other documents.
        frame.with_columns(
            text=pl.concat([frame["text"][:2].str.join(""), pl.Series([""]), frame["text"][2:]])
        ),
    ]
    digests = {chunk.digest} | {find_chunks([other], least=10**6)[0].digest for other in others}
    assert len(digests) == 1 + len(others)
    # A run that changes its tier as a whole has the same shards.
    assert find_chunks([frame.with_columns(tier=pl.lit("refined"))], least=10**6)[0].digest == chunk.digest


def test_a_mark_near_another_does_not_cut() -> None:
    marked = np.array([False, True, True, False, True, True])
    sizes = np.array([10, 10, 5, 10, 10, 30], np.int64)
    is_end, since = chunk_ends(marked, sizes, since_mark=0, least=20)
    assert is_end.tolist() == [False, True, False, False, True, True]
    assert since == 0
    assert chunk_ends(marked[:4], sizes[:4], since_mark=0, least=20)[1] == 10


def test_a_long_document_is_always_marked_and_an_empty_one_never() -> None:
    ids = draw(pl.Series([hashlib.md5(str(n).encode()).hexdigest() for n in range(500)]), seed=1)
    assert is_marked(ids, np.full(500, 2**40), spread=2**30).all()
    assert is_marked(ids, np.full(500, 64), spread=64).all()
    assert not is_marked(ids, np.zeros(500, np.int64), spread=1).any()
    assert 40 < is_marked(ids, np.full(500, 64), spread=640).sum() < 60


@pytest.mark.parametrize(
    ("total_bytes", "least"),
    [
        (None, 32_000_000),
        (0, 1 << 18),
        (1_000_000, 1 << 18),
        (10_000_000, 1 << 19),
        (400_000_000, 1 << 24),
        (2**63, 32_000_000),
    ],
)
def test_a_small_source_has_several_chunks_too(total_bytes: int | None, least: int) -> None:
    assert least_text(total_bytes, most=32_000_000) == least
    assert least_text(total_bytes, most=1500) == 1500


@given(st.integers(1 << 24, 1 << 29))
def test_a_source_has_16_to_32_times_the_least_text(total_bytes: int) -> None:
    assert 16 <= total_bytes / least_text(total_bytes, most=1 << 40) <= 32
