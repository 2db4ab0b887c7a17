"""Tags taken out of a text: no number arises where they were, and what is no tag stays."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.normalize.clean import clean_text
from medpipe.normalize.tags import (
    CELL_ELEMENTS,
    INLINE_ELEMENTS,
    LINE_ELEMENTS,
    PICTURE_ELEMENTS,
    without_tags,
)

TYPOGRAPHIC = {"b", "big", "font", "i", "nobr", "small", "span", "tt", "u", "wbr"}
ELEMENTS = LINE_ELEMENTS | CELL_ELEMENTS | PICTURE_ELEMENTS | INLINE_ELEMENTS


@pytest.mark.parametrize("name", sorted(ELEMENTS - TYPOGRAPHIC))
@pytest.mark.parametrize(
    "pattern", ["1<{0}>2</{0}>3", "1<{0} x='y'>2</{0}>3", "1<b></b><{0}>2</{0}><i></i>3"]
)
def test_numbers_beside_tags_stay_apart(name: str, pattern: str) -> None:
    assert re.findall("[0-9]+", without_tags(pattern.format(name))) == ["1", "2", "3"]


@pytest.mark.parametrize("name", sorted(TYPOGRAPHIC))
def test_typography_within_a_number_leaves_it_whole(name: str) -> None:
    assert clean_text(f"1<{name}>0</{name}>.<{name}>5</{name}>mg") == "10.5mg"


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ("5<del>3</del>0", "5 3 0"),
        ("1<s>2</s>3<em>4</em>", "1 2 3 4"),
        ("1<!-- x -->0，1<b><!-- x --></b>0", "1 0，1 0"),
        ("1<script>x</script>0", "1 0"),
        ("0.<del>3</del>5，1<del>.5</del>0", "0. 3 5，1 .5 0"),
        ("甲<em>乙</em>5<em>mg</em>，<em>3</em>天", "甲乙5mg，3天"),
        ("5<sub></sub>0，10</sup>9", "5 0，10 9"),
        ("2<sup>1/2</sup>3", "2^1/2 3"),
        ("10<sup>9</sup>5", "10⁹5"),
    ],
)
def test_golden(published: str, expected: str) -> None:
    assert clean_text(published) == expected


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        # What a picture between a number and its unit shows was a sign: μ, ×, ≥.
        ("5<img>g", "5\ufffdg"),
        ("5 <img src='x'> mg", "5 \ufffd mg"),
        ("5<svg></svg>0", "5\ufffd0"),
        ("37<img src='x'>℃", "37\ufffd℃"),
        ("P<img src='x'>0.05", "P\ufffd0.05"),
        ("图1<img src='x'>患者<img src='x'>3天", "图1患者3天"),
        ("in 2020 <img src='x'> The study", "in 2020  The study"),
        ("甲<img src='x'>乙", "甲乙"),
    ],
)
def test_a_lost_sign_stays_visible(published: str, expected: str) -> None:
    assert clean_text(published) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<TT>时间", "凝血酶时间<TT>与<PT>", "<EM>", "P<p>0.05", "P<p>0.05，P<P>0.01", "Na<li>K",
        "Na<li>K<ol>B", "<TH>1", "阻断<H2>受体", "<HR>", "风险<hr>", "<DL>", "<OL>",
    ],
)  # fmt: skip
def test_abbreviations_are_no_tags(text: str) -> None:
    assert clean_text(text) == text


def test_a_comparison_stays_one_among_tags() -> None:
    assert clean_text("甲<br>P<p>0.05<br>乙") == "甲\nP<p>0.05\n乙"


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ("<p>一<p>二", "一\n二"),
        ("<ul><li>一<li>二</ul>", "一\n二"),
        ("<ol><li>one<li>two</ol>", "one\ntwo"),
        ("<table><tr><td>5<td>10</table>", "5 10"),
        ("<dl><dt>词<dd>义", "词\n义"),
        ("一<hr/>二<p/>三", "一\n二\n三"),
        ("一<hr>二<br>三", "一\n二\n三"),
        ("<h2>题</h2>文", "题\n文"),
        ("<em>重</em>点，<tt>x</tt>", "重点，x"),
    ],
)
def test_tags_that_other_tags_vouch_for_go(published: str, expected: str) -> None:
    assert re.sub("\n+", "\n", clean_text(published)) == expected


def test_a_tag_far_away_vouches_for_nothing() -> None:
    assert clean_text("<li>" + "文" * 3_000 + "<li>").count("<li>") == 2
    assert clean_text("<li>" + "文" * 300 + "<li>").count("<li>") == 0


pieces = st.lists(
    st.one_of(
        st.from_regex("[0-9]{1,3}", fullmatch=True),
        st.sampled_from(sorted(ELEMENTS - TYPOGRAPHIC)).map(lambda name: f"<{name} a='b'>"),
        st.sampled_from(sorted(ELEMENTS - TYPOGRAPHIC)).map(lambda name: f"</{name}>"),
        st.sampled_from(
            ["<!-- 7 -->", "<b a=b>", "</b>", "<span a=b>", "<!doctype html>", "<style>7</style>"]
        ),
    ),
    max_size=8,
)


@settings(max_examples=200)
@given(pieces)
def test_every_number_is_a_published_one(parts: list[str]) -> None:
    text = "".join(parts)
    shown = re.sub("<!--.*?-->|<style>.*?</style>|<!doctype html>", "<em>", text)
    runs = re.split("(?:<[^<>]*>)+", re.sub("<b a=b>|</b>|<span a=b>", "", shown))
    assert re.findall("[0-9]+", clean_text(text)) == [run for run in runs if run]
