from __future__ import annotations

import re
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.source import Template
from medpipe.normalize.templates import render_conversations
from medpipe.records.keys import content_key, fold_text, joined_content, record_ids
from medpipe.records.kinds import Kind

QUESTION = "维生素B12缺乏怎么办？"
ANSWER = "1.遵医嘱口服甲钴胺片，一次0.5mg，每日3次。\n2.血红蛋白<90g/L时复查。"


def key_of_text(text: str) -> str:
    return str(pl.DataFrame({"text": [text]}).select(content_key(pl.col("text"))).item())


def conversation(*contents: str) -> pl.DataFrame:
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
    return pl.DataFrame({"turns": [turns]})


def key_of_turns(*contents: str) -> str:
    frame = conversation(*contents)
    return str(frame.select(content_key(joined_content(Kind.CONVERSATION))).item())


def rendered(template: Template | None, *contents: str) -> str:
    return str(render_conversations(conversation(*contents).lazy(), template).collect()["text"].item())


WRAPPINGS = {
    "lines": f"{QUESTION}\n{ANSWER}",
    "joined": f"{QUESTION}{ANSWER}",
    "markers": f"问：{QUESTION}\n答：{ANSWER}",
    "markers in one line": f"问:{QUESTION}答:{ANSWER}",
    "long markers": f"问题：{QUESTION} 回答：{ANSWER}",
    "doctor": f"患者：{QUESTION}\n医生：{ANSWER}",
    "wide": f"{QUESTION}\n{ANSWER}".replace("0.5mg", "０．５ＭＧ").replace(",", "，"),
    "spaces": f"  {QUESTION}\n\n\u3000\u3000{ANSWER}  ",
    "A": rendered(Template.A, QUESTION, ANSWER),
    "B": rendered(Template.B, QUESTION, ANSWER),
    "C": rendered(Template.C, QUESTION, ANSWER),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_wrapping_does_not_change_the_key(wrapping: str) -> None:
    assert key_of_text(WRAPPINGS[wrapping]) == key_of_turns(QUESTION, ANSWER), fold_text(WRAPPINGS[wrapping])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("每次1.0g", "每次10g"),
        ("血糖>7.0", "血糖<7.0"),
        ("1 0片", "10片"),
        ("1. 5片", "1.5片"),
        ("1、5片", "15片"),
        ("-5℃", "5℃"),
        ("0.5~1.0g", "0.51.0g"),
        ("10⁹/L", "10/L"),
        ("±2", "2"),
        ("5%", "5"),
        ("(5)", "5"),
        (".5g", "5g"),
        ("维生素B,6片", "维生素B6片"),
        ("5 - 10mg", "510mg"),
        ("5 ( - 10mg", "510mg"),
        ("5 (-10mg", "5-10mg"),
        ("120 / 80", "12080"),
        ("1 : 1000", "11000"),
        ("5\n- 10", "510"),
        ("2 、 3次", "23次"),
        ("1 . 5", "15"),
        ("50 %", "50"),
    ],
)
def test_numbers_that_differ_keep_different_keys(one: str, other: str) -> None:
    assert key_of_text(one) != key_of_text(other)


numbers = st.from_regex(r"[0-9]{1,3}([.,/~-][0-9]{1,3}){0,2}", fullmatch=True)
words = st.text(alphabet="头痛发热服用每次片mgL", max_size=6)


@given(before=words, after=words, comparator=st.sampled_from(["<", ">", "≤", "≥", "±", ""]), number=numbers)
def test_every_number_and_comparator_is_in_the_fold(
    before: str, after: str, comparator: str, number: str
) -> None:
    assert (comparator + number) in fold_text(f"{before}{comparator}{number}{after}")


@given(whole=st.integers(0, 999), fraction=st.integers(0, 999), unit=st.sampled_from(["g", "mg", "片"]))
def test_a_decimal_point_always_counts(whole: int, fraction: int, unit: str) -> None:
    assert key_of_text(f"{whole}.{fraction}{unit}") != key_of_text(f"{whole}{fraction}{unit}")


contents = st.text(alphabet="头痛怎么办服用a5 1.。，？!\n(%", min_size=1, max_size=30).filter(
    lambda text: any(character.isalpha() for character in text)
)


@settings(max_examples=100)
@given(turns=st.lists(contents, min_size=2, max_size=4), template=st.sampled_from([None, *Template]))
def test_a_template_never_changes_the_key(turns: list[str], template: Template | None) -> None:
    assert key_of_text(rendered(template, *turns)) == key_of_turns(*turns)


# Characters that this Python does not know yet may be letters or marks for Polars.
assigned = st.characters(exclude_categories=("Cn", "Co", "Cs"))


@given(st.text(alphabet=assigned, max_size=60))
def test_fold_drops_what_stands_far_from_digits(text: str) -> None:
    folded = fold_text(text)
    for position, character in enumerate(folded):
        if character == " " or (unicodedata.category(character)[0] == "P" and character not in "%‰"):
            near = folded[max(0, position - 3) : position + 4]
            assert any(unicodedata.category(other)[0] == "N" for other in near), (text, folded)
    assert not re.search(r"[A-ZＡ-Ｚ]", folded)


def test_the_key_of_a_preference_has_all_three_parts() -> None:
    frame = pl.DataFrame(
        {
            "prompt": [[{"role": "user", "content": "头痛"}]] * 3,
            "chosen": ["休息", "休息", "就医"],
            "rejected": ["喝酒", "熬夜", "喝酒"],
        }
    )
    keys = frame.select(content_key(joined_content(Kind.PREFERENCE))).to_series()
    assert keys.n_unique() == 3
    assert keys.str.contains(r"^[0-9a-f]{32}$").all()


def test_ids_depend_on_source_kind_and_content_only() -> None:
    frame = pl.DataFrame(
        {"source": ["a", "a", "b", "a"], "text": ["x", "x\r\ny", "x", "x"], "row": [0, 1, 2, 3]}
    )
    ids = record_ids(frame, kind=Kind.DOCUMENT, content=["text"]).to_list()
    assert ids[0] == ids[3]
    assert len(set(ids)) == 3
    assert record_ids(frame, kind=Kind.EXAM_ITEM, content=["text"])[0] != ids[0]


def test_ids_tell_columns_nulls_and_turns_apart() -> None:
    turns = [{"role": "user", "content": "头痛"}, {"role": "assistant", "content": "休息"}]
    rows = [
        {"system": None, "turns": turns},
        {"system": "", "turns": turns},
        {"system": "-", "turns": turns},
        {"system": None, "turns": turns[:1]},
        {"system": None, "turns": [turns[0] | {"role": "assistant"}, turns[1]]},
        {"system": None, "turns": [turns[0] | {"content": None}, turns[1]]},
    ]
    frame = pl.DataFrame(rows).with_columns(source=pl.lit("a"))
    ids = record_ids(frame, kind=Kind.CONVERSATION, content=["system", "turns"])
    assert ids.n_unique() == len(rows)
    assert ids.str.contains(r"^[0-9a-f]{32}$").all()
    halves = pl.DataFrame({"source": ["a", "a"], "x": ["1:", "1"], "y": ["b", ":b"]})
    assert record_ids(halves, kind=Kind.DOCUMENT, content=["x", "y"]).n_unique() == 2
    assert record_ids(frame.head(0), kind=Kind.CONVERSATION, content=["system", "turns"]).is_empty()
