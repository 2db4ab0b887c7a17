"""Lines broken to a width become paragraphs, and no character but the break is touched."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.catalog.layouts import TextLayout
from medpipe.normalize.wrapped import unwrapped
from medpipe_tests.normalize.reading import read


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("味甘平无毒主治\n心腹邪气", "味甘平无毒主治心腹邪气"),
        ("一、用药\n味甘平无毒主治\n心腹邪气", "一、用药\n味甘平无毒主治心腹邪气"),
        ("味甘平无毒主治\n\n心腹邪气", "味甘平无毒主治\n\n心腹邪气"),
        ("每日服用一次共\n10g", "每日服用一次共10g"),
        ("a dose of 5\nmg a day", "a dose of 5 mg a day"),
        ("the well-\nknown dose", "the well-known dose"),
        ("a dose of 5\n每日", "a dose of 5每日"),
        ("味甘平无毒主治\n心腹邪气去毒，\n久服轻身", "味甘平无毒主治心腹邪气去毒，久服轻身"),
        ("a verse of a poem\n  and its second line", "a verse of a poem\n  and its second line"),
        ("短", "短"),
        ("", ""),
        (None, None),
    ],
)
def test_golden(text: str | None, joined: str | None) -> None:
    column = pl.Series("text", [text, "又一行文字在这里\n完", text], dtype=pl.String)
    assert unwrapped(column, width=7).to_list() == [joined, "又一行文字在这里完", joined]


LINES = st.lists(st.text("味 ab。-，1", max_size=12).map(str.rstrip), min_size=1, max_size=6)


@given(lines=LINES, width=st.integers(1, 12))
def test_only_breaks_after_long_lines_change(lines: list[str], width: int) -> None:
    (joined,) = unwrapped(pl.Series(["\n".join(lines)]), width=width).to_list()
    assert re.sub(r"\s", "", joined) == re.sub(r"\s", "", "".join(lines))
    ends = [
        number
        for number, line in enumerate(lines[:-1])
        if len(line) < width or not lines[number + 1] or lines[number + 1][0] == " "
    ]
    assert joined.count("\n") == len(ends)


def test_marks_are_taken_out_before_lines_are_joined() -> None:
    layout = TextLayout(remove=(r"<(?:卷|章)>", r"(?m)^正文：", r"\\[xr]"), wrapped_at=7)
    row = "<卷>上卷\n\n<章>甘草\n\n正文：味甘平无毒主治 \n心腹邪气 \n\\x用法\\x \n水煎服，正文：一次10g"
    frame, reasons = read(layout, row)
    assert reasons == {}
    assert frame["text"].to_list() == ["上卷\n\n甘草\n\n味甘平无毒主治心腹邪气\n用法\n水煎服，正文：一次10g"]


def test_a_text_of_marks_alone_is_empty() -> None:
    frame, reasons = read(TextLayout(remove="<章>"), "<章>\n")
    assert frame.height == 0
    assert reasons == {100: "empty_text"}


def test_a_wrong_expression_is_named() -> None:
    with pytest.raises(ValueError, match=r"'\(<章>'"):
        TextLayout(remove="(<章>")
