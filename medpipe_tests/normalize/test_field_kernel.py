"""The compiled loops of multi-field records beside the same rules written plainly."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medpipe.normalize.field_kernel import join_clauses, trim_column
from medpipe.normalize.labels import wording
from medpipe.normalize.tidy import SAYS_NOTHING, STRAY_AT_END, STRAY_AT_START
from medpipe.records.kinds import Language


def trimmed(text: str) -> str | None:
    text = text.lstrip(STRAY_AT_START)
    if not text.endswith("..."):
        text = text.rstrip(STRAY_AT_END)
    return None if text in SAYS_NOTHING else text


edges = st.text(alphabet="。.，,；：|•· \n\t．-—?？病a5é👨[]{}", max_size=8)
words = st.sampled_from([*SAYS_NOTHING, "none", "Nonea", "nu", "undefined.", "无", "...", "咳嗽..."])


@settings(max_examples=300)
@given(st.lists(st.one_of(edges, words, st.tuples(edges, words, edges).map("".join)), max_size=6))
@example(["", "。", "..", "...", "。...", "👨", "é", "𠀀。"])
def test_ends_are_trimmed_as_python_would(texts: list[str]) -> None:
    assert trim_column(pl.Series(texts, dtype=pl.String)).to_list() == [trimmed(text) for text in texts]


def test_nulls_stay_null() -> None:
    assert trim_column(pl.Series([None, "a。", None, "。"])).to_list() == [None, "a", None, None]
    assert trim_column(pl.Series([], dtype=pl.String)).to_list() == []


def joined(rows: list[list[list[str]]], labels: list[str], language: Language) -> list[str | None]:
    words, texts = wording(language), []
    for row in rows:
        text, end = "", ""
        for label, items in zip(labels, row, strict=True):
            said = [item for item in map(trimmed, items) if item is not None]
            if said:
                clause = words.item.join(said)
                text += end + label + clause
                by_itself = re.search(r"(?:[！？!?]|[。！？!?…][”’」』\"）)]+)\Z", clause)
                end = words.after_mark if by_itself else words.stop
        texts.append(text or None)
    return texts


items = st.lists(st.text(alphabet="病a5。！？…”）) ，.", max_size=5), max_size=3)


@settings(max_examples=200)
@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(items, min_size=width, max_size=width), min_size=1, max_size=4)
    ),
    st.sampled_from(list(Language)),
)
def test_clauses_are_joined_as_python_would(rows: list[list[list[str]]], language: Language) -> None:
    labels = [f"项{number}：" for number in range(len(rows[0]))]
    columns = [[row[number] for row in rows] for number in range(len(labels))]
    strings = pl.Series([item for column in columns for value in column for item in value], dtype=pl.String)
    counts = [len(value) for column in columns for value in column]
    texts = join_clauses(strings, counts, labels, wording(language))
    assert texts.to_list() == joined(rows, labels, language)


@pytest.mark.parametrize("height", [1, 3])
def test_records_without_any_string(height: int) -> None:
    texts = join_clauses(
        pl.Series([], dtype=pl.String), [0] * (2 * height), ["甲：", "乙："], wording(Language.ZH)
    )
    assert texts.to_list() == [None] * height
