"""Wordings in several kinds of Chinese, as Wikipedia lists them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.normalize.clean import clean_text
from medpipe.normalize.variants import chosen_variants


@pytest.mark.parametrize(
    ("published", "chosen"),
    [
        ("群、环、-{zh-cn:域;zh-tw:体}-等", "群、环、域等"),
        ("-{zh-tw: 成長; zh-hk: 增長; zh-cn: 增长;}-136%", "增长136%"),
        ("-{zh-tw:甲;zh-sg:乙;zh-hans:丙}-", "丙"),
        ("《-{zh-tw:財星;zh-hk:財富}-》", "《財星》"),
        ("论题。\n-{zh-hant:; zh-hans:;}-\n物理", "论题。\n\n物理"),
        ("-{H|zh-hant:心裡學;zh-hans:心理学;}-\n正文", "\n正文"),
        ("-{T|zh:题;zh-hant:題}-正文", "正文"),
        ("-{A|zh-hans:计算机;zh-hant:電腦}-", "计算机"),
        ("请-{于}-尔班，因-{}-数值，-{只}-辨", "请于尔班，因数值，只辨"),
        # Numbers stay apart.
        ("5-{zh-cn:10;zh-tw:20}-6", "5 10 6"),
        ("5-{zh-cn:;zh-tw:20}-6", "5 6"),
    ],
)
def test_golden(published: str, chosen: str) -> None:
    assert chosen_variants(published) == chosen


def test_lists_within_lists_are_taken_from_the_inside() -> None:
    assert clean_text("-{zh-cn:-{于}-尔班;zh-tw:x}-") == "于尔班"


@pytest.mark.parametrize(
    "text",
    [
        "[-{CH2}-]n",
        "-{CH2-CH2}-",
        "x^{-{2}-1}",
        r"\frac{-{a}-}{b}",
        "-{}-",
        "-{zh-cn:甲",
        "-{zh-cn:甲;乙}-",
        "-{zh-cn:甲|乙}-",
        "-{de:eins;en:one}-",
        "{zh-cn:甲;zh-tw:乙}",
        "e^{-{x}}",
        "-{5}-",
    ],
)
def test_what_only_looks_alike_stays(text: str) -> None:
    assert clean_text(text) == text


@given(st.text(alphabet="-{}zh:;cnH|于5 ", max_size=30))
def test_choosing_makes_a_text_no_longer(text: str) -> None:
    assert len(chosen_variants(text)) <= len(text)
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned


@pytest.mark.parametrize("text", ["-{zh-cn:", "-{zh-cn:a;", "-{zh-cn:a; ", "-{于", "-{zh:" + " " * 100])
def test_a_hostile_text_takes_no_more_than_its_length(text: str) -> None:
    # In the square of its length this would take minutes.
    assert len(clean_text(text * 20_000)) <= len(text) * 20_000
