"""Plain text in the shapes in which it is published."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.catalog.layouts import TextLayout
from medpipe.ingest.readers import read_rows
from medpipe_tests.normalize.reading import read
from medpipe_tests.shared_data import shared_data


@pytest.mark.parametrize(
    ("layout", "row", "text"),
    [
        (TextLayout(), "  一行\u200b文字 ", "一行文字"),
        (TextLayout(), ["独个"], "独个"),
        (TextLayout(), {"text": "正文", "meta": {"a": 1}}, "正文"),
        (TextLayout(text="completion"), {"completion": "条目", "source": "x"}, "条目"),
        (TextLayout(text="1"), ["12", "正文", "x"], "正文"),
        (TextLayout(title="title"), {"text": "正文", "title": "标题"}, "标题\n正文"),
        (TextLayout(title="title"), {"text": "标题\n\n正文", "title": "标题"}, "标题\n\n正文"),
        (TextLayout(title="title"), {"text": "标题是开头", "title": " 标题\u3000"}, "标题是开头"),
        (TextLayout(title="title"), {"text": "正文", "title": None}, "正文"),
        (TextLayout(title="title"), {"text": "正文", "title": "&nbsp;"}, "正文"),
        (TextLayout(title="title"), {"text": "正文", "title": "nan"}, "正文"),
        (TextLayout(title="title"), {"text": "正文", "title": " N/A"}, "正文"),
        (TextLayout(title="title"), {"text": "正文"}, "正文"),
        (TextLayout(title="title"), "正文", "正文"),
        # An encyclopedia's text: title repeated, what stood in the brackets removed by its publisher.
        (
            TextLayout(title="title"),
            {"title": "痛风", "text": "痛风\n\n痛风（）是一种关节炎。\n"},
            "痛风\n\n痛风（）是一种关节炎。",
        ),
    ],
)
def test_golden(layout: TextLayout, row: Any, text: str) -> None:
    frame, reasons = read(layout, row)
    assert frame["text"].to_list() == [text]
    assert reasons == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"txt": "x"}, "missing_field"),
        *(({"text": word}, "empty_text") for word in ("nan", " None\n", "N/A", "null")),
        ("nan", "empty_text"),
        (["None"], "empty_text"),
        ({}, "missing_field"),
        ({"text": " \ufeff "}, "empty_text"),
        ({"text": None}, "empty_text"),
        ("", "empty_text"),
        ("<br/>&nbsp;", "empty_text"),
        ({"text": ["a", "b"]}, "unexpected_type"),
        ({"text": 5}, "unexpected_type"),
        (["a", "b"], "unexpected_type"),
        ([], "unexpected_type"),
        (5, "unexpected_type"),
        (None, "unexpected_type"),
    ],
)
def test_rows_that_give_no_text(row: Any, reason: str) -> None:
    frame, reasons = read(TextLayout(title="title"), row)
    assert frame.height == 0
    assert reasons == {100: reason}


@given(st.lists(st.one_of(st.text(max_size=20), st.none(), st.integers(), st.lists(st.text(max_size=5)))))
def test_every_row_gives_a_text_or_a_reason(rows: list[Any]) -> None:
    frame, _ = read(TextLayout(), *rows)  # `read` checks that no row is lost or counted twice
    assert all(text == text.strip() != "" for text in frame["text"])


@pytest.mark.parametrize(
    ("file", "layout", "rows"),
    [
        ("caregpt/drug.json", TextLayout(), 1343),
        ("huatuogpt/pubmed_test.json", TextLayout(), 195),
        ("apollo-medbase/guidelines_en_1.dev.jsonl", TextLayout(), 60),
        ("caregpt/Hospital Guide/导诊指导.json", TextLayout(text="content"), 40),
        ("wikipedia-zh/wiki_00", TextLayout(title="title"), 64),
        ("skywork/zh_news.jsonl", TextLayout(), 278),
    ],
)
def test_published_text(file: str, layout: TextLayout, rows: int) -> None:
    kept = 0
    for batch in read_rows(shared_data(file)):
        frame, reasons = read(layout, *batch.values)
        assert reasons == {}
        unclean = "[\u200b\ufeff\u3000\u00a0\r\x06]|(?i:</?(?:su[pb]|i|br)>)"
        assert not frame["text"].str.contains(unclean).any()
        kept += frame.height
    assert kept == rows


def test_a_mark_between_two_digits_leaves_a_space() -> None:
    layout = TextLayout(remove=(r"\[参\d\]",))
    frame, _ = read(layout, "剂量5[参1][参2]0mg，疗程[参3]7天[参1]。")
    assert frame["text"].to_list() == ["剂量5 0mg，疗程7天。"]
