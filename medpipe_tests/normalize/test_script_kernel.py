from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.normalize.script_kernel import letters_by_script

SCRIPTS = {
    "han": r"\p{Han}",
    "ascii": "[A-Za-z]",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "other": r"[\p{L}--[\p{Han}A-Za-z\p{Hiragana}\p{Katakana}]]",
}


@settings(max_examples=200)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=30), max_size=4))
def test_letters_are_counted_as_regular_expressions_count_them(texts: list[str]) -> None:
    column = pl.Series("text", texts, dtype=pl.String)
    expected = column.to_frame().select(
        pl.col("text").str.count_matches(pattern).cast(pl.Int64).alias(script)
        for script, pattern in SCRIPTS.items()
    )
    assert letters_by_script(column).equals(expected)


def test_every_character_is_of_the_script_that_regular_expressions_say() -> None:
    every = pl.Series("text", [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000])
    counts = letters_by_script(every)
    for script, pattern in SCRIPTS.items():
        assert (counts[script] == every.str.contains(pattern).cast(pl.Int64)).all(), script
