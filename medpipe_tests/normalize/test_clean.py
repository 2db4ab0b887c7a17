from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.normalize.clean import _MAY_CHANGE_IN_NFC, _ODD_SPACE, clean_column, clean_text

HARMLESS = [
    "≥7.0mmol/L",
    "<11.1",
    "0.5~1.0g",
    "10×10⁹/L",
    "½片",
    "5μg",
    "5µg",
    "m²",
    "Ⅱ型",
    "37.5℃",
    "①②",
    "ＣＲＰ１２",
    "P<0.05",
    "<0.15，且>3",
    "a<b 且 c>d",
    "50%～70%",
    "H₂O",
    "10\u2126",
    "300\u212a",
    "5\u212b",
    "《伤寒论》",
    "<NAME>",
    "α-干扰素",
    "Q&A",
    "AT&T; R&D",
    "1:1000",
    "100－200ml",
    "$x^2$",
    "—",
    "（8000——15000元）",
    "👨",
    "x <b and c> y",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_medicine_survives_byte_for_byte(text: str) -> None:
    assert clean_text(text) == text
    assert clean_text(f"剂量 {text} 即可\n另一行{text}。") == f"剂量 {text} 即可\n另一行{text}。"


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ("a\r\nb\rc\n", "a\nb\nc"),
        ("头\u200b痛\ufeff\x07。", "头痛。"),
        ("血糖5\ufffd10", "血糖5 10"),
        ("血糖\ufffd高", "血糖高"),
        ("\u3000\u3000首行\n\u3000 次行\u3000中间\u00a0x", "首行\n次行 中间 x"),
        ("上<br/>下</p>末", "上\n下\n末"),
        ('<a href="http://x">链接</a><B>粗</B>', "链接粗"),
        ("<td>5</td><td>10</td>", "5  10"),
        ("10<sup>9</sup>/L，m<sup>-2</sup>，CO<sub>2</sub>", "10⁹/L，m⁻²，CO₂"),
        ("文<sup>[1]</sup>，药<sup>TM</sup>", "文^[1]，药TM"),
        ("P&lt;0.05&nbsp;&amp; x&#62;3&ge;2", "P<0.05 & x>3≥2"),
        ("&amp;lt;br&amp;gt;x", "x"),
        ("<script>var a=1;</script>正文<!-- 注 -->", "正文"),
        ("行尾  \t\n\n\n\n下段", "行尾\n\n下段"),
        ("e\u0301", "é"),
        ("代码：```html\n<div>a</div>\n```", "代码：```html\n<div>a</div>\n```"),
        ("\ufdd0\ufdd1", ""),
    ],
)
def test_what_a_reader_cannot_see_goes(published: str, expected: str) -> None:
    assert clean_text(published) == expected


@settings(max_examples=150)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once


@settings(max_examples=150)
@given(st.text(alphabet="<>b/ip&amplt;gtsu0\n\r\u3000\ufffd 病", max_size=40))
def test_cleaning_twice_changes_nothing_more_in_markup(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once


surroundings = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("M", "Cs"), exclude_characters="<>&;"),
    max_size=20,
)


@settings(max_examples=150)
@given(before=surroundings, token=st.sampled_from(HARMLESS), after=surroundings)
def test_numbers_units_and_comparators_survive_anywhere(before: str, token: str, after: str) -> None:
    assert token in clean_text(f"{before} {token} {after}")


@settings(max_examples=150)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<&"), max_size=60))
def test_the_digits_of_a_text_without_markup_stay_in_order(text: str) -> None:
    def digits(value: str) -> str:
        # NFC first: a few ideographs that it unifies count as numbers.
        return "".join(
            c for c in unicodedata.normalize("NFC", value) if unicodedata.category(c) in ("Nd", "No")
        )

    assert digits(clean_text(text)) == digits(text)


def test_every_character_that_nfc_touches_is_looked_at() -> None:
    assigned = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    touched = {c for c in assigned if unicodedata.normalize("NFC", c) != c}
    pairs = [
        unicodedata.decomposition(c).split() for c in assigned if "<" not in unicodedata.decomposition(c)
    ]
    touched |= {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2}
    seen = pl.Series(sorted(touched)).str.contains(f"[{_MAY_CHANGE_IN_NFC}{_ODD_SPACE}]")
    missed = pl.Series(sorted(touched)).filter(~seen).to_list()
    assert not missed, [hex(ord(c)) for c in missed]


def test_a_column_keeps_nulls_and_order() -> None:
    column = pl.Series("c", ["净", None, "脏\u200b", "", "净"])
    assert clean_column(column).to_list() == ["净", None, "脏", "", "净"]
    assert clean_column(column).name == "c"
    assert column.to_list() == ["净", None, "脏\u200b", "", "净"]
    assert clean_column(pl.Series([], dtype=pl.String)).to_list() == []
