"""Stray symbols at the start of a field's string."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plain_python
from medpipe.normalize.tidy import STRAY_AT_START, tidy, without_leading_colons


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (":1000", ":1000"),
        ("：1000", "：1000"),
        ("， ::1000", ":1000"),
        ("1:1000", "1:1000"),
        ("肾上腺素 :1000", "肾上腺素 :1000"),
        ("：头痛", "头痛"),
        ("、:， 发热", "发热"),
        (": 5mg", "5mg"),
        ("：", None),
        (":-", None),
        ("：None", None),
    ],
)
def test_a_colon_goes_unless_a_digit_follows(published: str, expected: str | None) -> None:
    assert tidy(pl.Series([published, "x"])).to_list() == [expected, "x"]


@given(st.lists(st.text(alphabet=":：,，。| 1病-", max_size=8)))
def test_as_plain_python_does_it(texts: list[str]) -> None:
    assert tidy(pl.Series(texts, dtype=pl.String)).to_list() == [plain_python.tidy(text) for text in texts]


@given(
    st.text(alphabet=STRAY_AT_START + ":：", max_size=6), st.text(alphabet="15病.%", min_size=1, max_size=5)
)
def test_the_first_number_keeps_the_colon_before_it(stray: str, value: str) -> None:
    left = without_leading_colons(stray + value)
    assert left.endswith(value)
    if stray.endswith((":", "：")):
        assert left == (stray[-1] + value if value[0].isdigit() else value)
