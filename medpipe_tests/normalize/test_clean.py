from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.ingest.readers import read_rows
from medpipe.normalize.clean import _MAY_CHANGE_IN_NFC, _ODD_SPACE, clean_column, clean_text
from medpipe.normalize.tags import CELL_ELEMENTS, INLINE_ELEMENTS, LINE_ELEMENTS, PICTURE_ELEMENTS
from medpipe_tests.shared_data import shared_data

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
        ("血糖5\ufffd10", "血糖5\ufffd10"),
        (
            "每次5\ufffdg，500 \ufffd\ufffdg，\ufffd7.0，1.\ufffd5",
            "每次5\ufffdg，500 \ufffdg，\ufffd7.0，1.\ufffd5",
        ),
        ("2\u20623，血糖5\x0010", "2 3，血糖5 10"),
        ("血糖\ufffd高", "血糖高"),
        ("\u3000\u3000首行\n\u3000 次行\u3000中间\u00a0x", "首行\n次行 中间 x"),
        ("上<br/>下</p>末", "上\n下\n末"),
        ('<a href="http://x">链接</a><B>粗</B>', "链接粗"),
        ("<td>5</td><td>10</td>", "5  10"),
        ("10<sup>9</sup>/L，m<sup>-2</sup>，CO<sub>2</sub>", "10⁹/L，m⁻²，CO₂"),
        ("10<sup><b>9</b></sup>/L，10<SUP class='x'> 9 </SUP>", "10⁹/L，10⁹"),
        ("Ca<sup>2+</sup>，2<sup>n</sup>，10<sup>x</sup>，x<sub>i<sup>2</sup></sub>", "Ca²⁺，2ⁿ，10^x，x_i²"),
        ("文<sup>[1]</sup>，药<sup>TM</sup>，5<sup>th</sup>，R<sub>max</sub>", "文^[1]，药TM，5th，Rmax"),
        ("5<img src='x'>10，甲<img src='x'>乙", "5\ufffd10，甲乙"),
        ("<p class=MsoNormal style='x:y'>文<o:p></o:p></p>", "文"),
        ("文</li>字<STYLE>p {}</STYLE><!-- a\nb -->", "文\n字"),
        ("P&lt;0.05&nbsp;&amp; x&#62;3&ge;2", "P<0.05 & x>3≥2"),
        ("&amp;lt;br&amp;gt;x", "x"),
        ("&amp;amp;amp;#37;，5&#956;g，5&micro;g，&Omega;", "%，5μg，5µg，Ω"),
        ("<script>var a=1;</script>正文<!-- 注 -->", "正文"),
        ("行尾  \t\n\n\n\n下段", "行尾\n\n下段"),
        ("e\u0301", "é"),
        ("代码：```html\n<div>a</div>\n```", "代码：```html\n<div>a</div>\n```"),
        ("\ufdd0\ufdd1", ""),
        ("a\u0130", "a\u0130"),
        ("<!DOCTYPE html><html><body>正文</body></html>", "正文"),
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


@pytest.mark.parametrize(
    "text",
    [
        "若a<b>c则停药",
        "<b>未闭合",
        "10<sup>9/L",
        "姓名<NAME>，住址<ADDRESS>，<TIME>入院",
        "<名称>目录",
        "<user> 你好 <bot> 您好 <unk> <pad> <sep> <cn>",
        "<Nuvole，bianche>",
        "<https://example.org>",
        "#include <iostream>",
        "(<2 cm) IIIb (>2 cm)",
        "大小<2.5cm;②中型,最大径>",
        "&region; &copyx; A&B;",
        "HTML里的<br>和</p>是标签",
        "写`<br>`换行",
        "<!-- 没有结尾",
        "<script> 没有结尾",
        "<div 类='容器'>",
        "<a href>",
    ],
)
def test_what_only_looks_like_markup_and_what_speaks_of_it_stays(text: str) -> None:
    assert clean_text(text) == text


@settings(max_examples=100)
@given(st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,9}", fullmatch=True))
def test_only_elements_of_html_are_tags(name: str) -> None:
    known = LINE_ELEMENTS | CELL_ELEMENTS | PICTURE_ELEMENTS | INLINE_ELEMENTS | {"sub", "sup"}
    text = f"药<{name}>效</{name}>好"
    assert (clean_text(text) == text) == (name.lower() not in known)


@pytest.mark.parametrize(
    "text",
    ["<b>", "<sup>", "<!-- ", "<script> ", "<a x=1 ", "`<a", "<", "&amp;", "<p>\n", "<td>5</td>", "</b>"],
)
def test_a_hostile_text_takes_no_more_than_its_length(text: str) -> None:
    # In the square of its length this would take minutes.
    assert len(clean_text(text * 20_000)) <= len(text) * 20_000
    assert len(clean_text("<a" + " x=1" * 20_000 + "&" + "amp;" * 20_000)) > 0


surroundings = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("M", "Cs"), exclude_characters="<>&;"),
    max_size=20,
)


@settings(max_examples=150)
@given(before=surroundings, token=st.sampled_from(HARMLESS), after=surroundings)
def test_numbers_units_and_comparators_survive_anywhere(before: str, token: str, after: str) -> None:
    assert token in clean_text(f"{before} {token} {after}")


DIRT = [
    "<p>", "</p>", "<br/>", "<BR>", "<b>", "</b>", "<b>粗</b>", "<td>", "</td>", "</div>",
    "<span style='a:b'>", "<a href='x'>链</a>", "<sup>2</sup>", "<sub>i</sub>", "<!-- 5 -->",
    "<script>5</script>", "<img src='x'>", "&nbsp;", "&lt;", "&gt;", "&amp;", "&#12288;", "&mdash;",
    "\u200b", "\ufeff", "\u2060", "\u3000", "\u00a0", "\u2003", "\x07", "\ufffd", "\xad",
    "\r\n", "\r", "\n\n\n", " \n", "\t", " ", "，", "病",
]  # fmt: skip
dirt = st.lists(st.sampled_from(DIRT), max_size=6).map("".join)


@settings(max_examples=150)
@given(before=dirt, token=st.sampled_from(HARMLESS), after=dirt)
def test_they_survive_next_to_whatever_is_taken_away(before: str, token: str, after: str) -> None:
    cleaned = clean_text(f"{before}{token}{after}")
    assert token in cleaned
    assert clean_text(cleaned) == cleaned


doses = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "≥", "<", ">", "≤", "±", "约", "＞", "≈"]),
    st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(["", "~1.5", "-2", "～3", "×10⁹", "/2", "½", "%-40%", "—8", "±0.5"]),
    st.sampled_from(
        ["mg", "g", "μg", "µg", "mmol/L", "/L", "%", "‰", "℃", "m²", "cm³", "IU", "片", "kg/m²", "\u2126"]
    ),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(dirt, doses), min_size=1, max_size=4), dirt)
def test_doses_keep_their_order_and_no_new_one_arises(pairs: list[tuple[str, str]], last: str) -> None:
    cleaned = clean_text("".join(noise + dose for noise, dose in pairs) + last)
    position = 0
    for _, dose in pairs:
        position = cleaned.index(dose, position) + len(dose)


@settings(max_examples=100)
@given(st.sampled_from(HARMLESS), st.integers(1, 3))
def test_they_survive_being_escaped(token: str, times: int) -> None:
    escaped = token
    for _ in range(times):
        escaped = html.escape(escaped)
    assert clean_text(f"<p>{escaped}</p>") == token


SEPARATORS = [
    "<br>",
    "</p><p>",
    "</td><td>",
    "<img src='x'>",
    "&nbsp;",
    "\u3000",
    "\x07",
    "\ufffd",
    "\r\n",
    "\xad",
    ",",
]


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.from_regex(r"[0-9]{1,3}", fullmatch=True), st.sampled_from(SEPARATORS)), min_size=1)
)
def test_two_numbers_never_become_one(pairs: list[tuple[str, str]]) -> None:
    cleaned = clean_text("".join(number + separator for number, separator in pairs))
    assert re.findall("[0-9]+", cleaned) == [number for number, _ in pairs]


@settings(max_examples=150)
@given(st.text(max_size=40))
def test_text_is_composed_but_for_the_signs_of_units(text: str) -> None:
    cleaned = clean_text(text)
    without_signs = re.sub("[\u2126\u212a\u212b]", "\ufdd0", cleaned)
    assert unicodedata.is_normalized("NFC", without_signs)
    assert not re.search("[\u200b\ufeff\u3000\u00a0\r\x00-\x08]", cleaned)


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


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


@pytest.mark.parametrize(
    ("file", "spans", "of_html"),
    [
        ("wikitext-2/valid.txt", 11718, 0),
        ("tcm-ancient-books/103-华佗神方.txt", 2469, 0),
        ("bentsao/liver_cancer.json", 2281, 0),
        ("caregpt/self_cognition.json", 119, 0),
        ("pubmedqa/ori_pqal.json", 24, 0),
        ("nlp-guild_medical-data/heart_array.json", 2, 0),
        ("medmcqa/dev.json", 4, 1),
        ("huatuogpt/pubmed_test.json", 572, 570),
        ("qizhengpt/药品适应症评测数据集.csv", 242, 242),
        ("apollo-medbase/Medical_Paper_en_sampled.json", 15, 14),
    ],
)
def test_spans_in_angle_brackets_of_real_records(file: str, spans: int, of_html: int) -> None:
    span = re.compile("<[^<>]{1,400}>")
    texts = [
        text for batch in read_rows(shared_data(file)) for value in batch.values for text in strings(value)
    ]
    published = [re.sub(r"\s", "", found) for text in texts for found in span.findall(text)]
    cleaned = clean_column(pl.Series(texts, dtype=pl.String))
    left = [re.sub(r"\s", "", found) for text in cleaned for found in span.findall(text)]
    assert len(published) == spans
    assert len(left) == spans - of_html
    assert not set(left) - set(published)
