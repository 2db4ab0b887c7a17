"""The compiled search for texts to clean, beside the same rules written as a regular expression."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medpipe.normalize.clean import _DIRTY, _cleaned_once
from medpipe.normalize.clean_kernel import suspects
from medpipe.normalize.markup import CANDIDATE
from medpipe_tests.shared_data import shared_data

MAY_CHANGE = rf"{_DIRTY}|{CANDIDATE}|[ \t]\n|\n\n\n|^\s|\s$"


def check(*texts: str) -> None:
    column = pl.Series("text", texts, dtype=pl.String)
    found = suspects(column, dirty=_DIRTY)
    missed = column.filter(column.str.contains(MAY_CHANGE) & ~found)
    assert missed.is_empty(), missed.to_list()
    clean = column.filter(~found).to_frame()
    assert clean.equals(clean.select(_cleaned_once(pl.col("text"))))


any_text = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)
spaced = st.text(alphabet="病a1 \t\n\u3000", max_size=12)
marked = st.text(alphabet="<>&/!#bp;lt病\n x", max_size=20)


@settings(max_examples=300)
@given(any_text, spaced, marked)
@example("", " ", "\n")
@example("a\n\n\nb", "a\n\nb", "a \n")
@example("e\u0301", "<", "&")
def test_no_text_that_cleaning_changes_is_missed(one: str, two: str, three: str) -> None:
    check(one, two, three)


def test_no_single_character_is_missed() -> None:
    check(*(f"病{chr(code)}病" for code in range(0x110000) if not 0xD800 <= code < 0xE000))


@pytest.mark.parametrize(
    "text", ["血糖<0.15，且>3", "a\n\nb", "头 痛\t发热", "5 < 7 & 3", "①½℃", "👨", "x<", "y&"]
)
def test_harmless_texts_are_left_in_peace(text: str) -> None:
    assert not suspects(pl.Series([text]), dirty=_DIRTY).item()


def test_few_real_texts_are_suspicious() -> None:
    lines = shared_data("huatuo-26m/test_datasets.jsonl").read_text().splitlines()
    check(*lines)
    assert suspects(pl.Series(lines), dirty=_DIRTY).mean() < 0.5


def test_nulls_and_rows_after_rows() -> None:
    column = pl.Series(["净", None, "脏\u200b", "", "净", " 脏"])
    assert suspects(column, dirty=_DIRTY).to_list() == [False, False, True, False, False, True]
    assert suspects(column[3:], dirty=_DIRTY).to_list() == [False, False, True]
    assert suspects(pl.Series([], dtype=pl.String), dirty=_DIRTY).to_list() == []
