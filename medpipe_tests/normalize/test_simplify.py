from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.normalize.simplify import simplify_column


def simplified(text: str) -> str:
    return str(simplify_column(pl.Series([text])).item())


@pytest.mark.parametrize(
    ("traditional", "expected"),
    [
        ("肺炎鏈球菌感染，發熱、頭痛。", "肺炎链球菌感染，发热、头痛。"),
        ("乾薑三錢，乾坤", "干姜三钱，乾坤"),
        ("高血壓與糖尿病混排的简体字", "高血压与糖尿病混排的简体字"),
        ("Ⅱ型糖尿病：空腹血糖≥7.0mmol/L，服藥½片", "Ⅱ型糖尿病：空腹血糖≥7.0mmol/L，服药½片"),
        ("機器打坏了，組織壞死", "机器打坏了，组织坏死"),
    ],
)
def test_traditional_text(traditional: str, expected: str) -> None:
    assert simplified(traditional) == expected


def test_simplified_text_is_left_alone() -> None:
    for text in ("关节打坏了", "一坏就换", "沈重夫医师", "α-干扰素 5μg", ""):
        assert simplified(text) == text


def test_a_column_keeps_nulls_order_and_name() -> None:
    column = pl.Series("text", [None, "發燒", "发烧", None])
    assert simplify_column(column).to_list() == [None, "发烧", "发烧", None]
    assert simplify_column(column).name == "text"
    assert column.to_list() == [None, "發燒", "发烧", None]
    assert simplify_column(pl.Series("text", [], dtype=pl.String)).to_list() == []


DOSES = [
    "≥7.0mmol/L",
    "0.5~1.0g",
    "10×10⁹/L",
    "½片",
    "5μg",
    "5µg",
    "m²",
    "Ⅱ型",
    "37.5℃",
    "10\u2126",
    "㎎",
    "<0.15",
]


@settings(max_examples=150)
@given(before=st.text(max_size=10), token=st.sampled_from(DOSES), after=st.text(max_size=10))
def test_numbers_and_units_stay_byte_for_byte(before: str, token: str, after: str) -> None:
    assert f"發{token}發"[1:-1] == simplified(f"發{token}發")[1:-1]
    assert token in simplified(f"{before}發{token}熱{after}")


@settings(max_examples=150)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\ufdd0"), max_size=40))
def test_nothing_but_ideographs_changes(text: str) -> None:
    def rest(value: str) -> list[str]:
        return [c for c in value if not unicodedata.name(c, "").startswith("CJK")]

    assert rest(simplified(f"發{text}")) == rest(f"發{text}")
