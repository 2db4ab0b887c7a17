"""Markers come off, content never does."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medpipe.normalize.layouts.markers import speaker_pattern, strip_markers

MARKERS = ("<s>", "</s>", "问：", "答：", "问题：", "Answer:", "Q")
CONTENT = st.text(st.sampled_from("头痛怎么办 问答题3.0g。？：:\nQa<>/sAnswer"), max_size=30)


def strip(text: str, *markers: str) -> str:
    return str(strip_markers(pl.Series([text]), markers or MARKERS).item())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<s>问：\n头痛？\n答：\n", "头痛？"),
        ("问题：头痛？\n答: ", "头痛？"),
        ("问:答：头痛", "头痛"),
        ("头痛？答：</s>", "头痛？"),
        ("头痛</s>", "头痛"),
        ("ANSWER : rest", "rest"),
        ("Q 头痛", "头痛"),
        ("答：", ""),
        ("", ""),
        # No markers: a word that goes on, a name without its colon, a verb before the colon, a lone letter.
        ("问题多吗？", "问题多吗？"),
        ("医生问：", "医生问："),
        ("血氧饱和度 98% 问：", "血氧饱和度 98% 问："),
        ("Quality", "Quality"),
        ("维生素Q", "维生素Q"),
        ("先答：是。再问：否", "先答：是。再问：否"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert strip(text) == expected


def test_a_column_with_nulls_keeps_its_name_and_length() -> None:
    column = pl.Series("question", ["问：甲", None, "乙"])
    assert strip_markers(column, ("问：",)).to_list() == ["甲", None, "乙"]
    assert strip_markers(column, ("问：",)).name == "question"
    assert strip_markers(column, ()) is column


@given(CONTENT)
@example("医生问：</s>")
@example("Q<s>Q")
@example("Q问：")
def test_what_is_left_is_a_piece_of_the_text_and_has_nothing_to_strip(text: str) -> None:
    left = strip(text)
    assert left in text
    assert strip(left) == left


@given(CONTENT, st.lists(st.sampled_from(MARKERS)), st.lists(st.sampled_from(["</s>", "答：", "\n问题: "])))
def test_content_between_markers_comes_out_whole(content: str, before: list[str], after: list[str]) -> None:
    content = f"，{content.strip()}。"
    assert strip(" ".join([*before, content]) + "".join(after)) == content


@given(st.text(st.sampled_from("头痛怎么办，3.0g。\n"), max_size=30))
def test_text_without_markers_is_only_trimmed(text: str) -> None:
    assert strip(text) == text.strip()


def test_a_pattern_of_nobody_matches_nothing() -> None:
    assert speaker_pattern([]).search("问：头痛") is None
