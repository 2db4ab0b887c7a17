"""Texts that repeat an exam item are found, whatever the layout; texts that only sound alike are not."""

from __future__ import annotations

import random
import re
import string
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from medpipe.curate.contamination.config import ContaminationConfig
from medpipe.curate.contamination.find import find_contaminated
from medpipe.curate.contamination.index import ContaminationError, ExamIndex
from medpipe.records.keys import fold_text
from medpipe_tests.making import article
from medpipe_tests.shared_data import shared_data

QUESTION = "患者女，六十二岁，反复咳嗽咳痰十年，活动后气促两年，近三天加重伴发热，最可能的诊断是"
TRADITIONAL = "患者女，六十二歲，反復咳嗽咳痰十年，活動後氣促兩年，近三天加重伴發熱，最可能的診斷是"
OPTIONS = ["慢性阻塞性肺疾病急性加重", "支气管哮喘", "肺结核", "支气管扩张"]
ENGLISH = (
    "A 62-year-old woman presents with a ten year history of productive cough and progressive dyspnea on "
    "exertion. Which of the following findings is most likely on spirometry?"
)


def index(*texts: str | tuple[str, str], **config: Any) -> ExamIndex:
    """An index of items called `e0`, `e1`, …; of Chinese ones unless a language is given."""
    rows = [(text, "zh") if isinstance(text, str) else text for text in texts]
    items = pl.DataFrame(
        {
            "id": [f"e{n}" for n in range(len(rows))],
            "text": [r[0] for r in rows],
            "lang": [r[1] for r in rows],
        }
    )
    items = items.cast(pl.String)
    return ExamIndex.build(items, config=ContaminationConfig(**config))


def find(exams: ExamIndex, *texts: str | None, lang: str = "zh") -> pl.DataFrame:
    return find_contaminated(
        pl.Series(texts, dtype=pl.String), pl.Series([lang] * len(texts), dtype=pl.String), exams
    )


def positions(exams: ExamIndex, *texts: str | None, lang: str = "zh") -> list[int]:
    return find(exams, *texts, lang=lang)["position"].to_list()


@pytest.mark.parametrize(
    "text",
    [
        f"[QUESTION] {QUESTION}？ [ANSWER] {OPTIONS[0]}",
        "第12题：" + "\n".join(QUESTION[n : n + 7] for n in range(0, len(QUESTION), 7)),
        QUESTION.replace("，", " , ").replace("诊断", "诊 断"),
        article(1) + QUESTION + article(2),
        f"<p>{QUESTION}</p>",
        TRADITIONAL,
        f"{TRADITIONAL[:15]}{QUESTION[15:]}",
    ],
)
def test_an_item_is_found_in_another_layout(text: str) -> None:
    exams = index("别的题目" * 9, QUESTION)
    found = find(exams, article(3), text)
    assert found["position"].to_list() == [1]
    assert found["exam_id"].to_list() == ["e1"]


def test_an_item_in_traditional_characters_is_found_in_simplified_text() -> None:
    found = find(index(TRADITIONAL), article(1), article(2) + QUESTION)
    assert found["position"].to_list() == [1]


@pytest.mark.parametrize(
    "text",
    [
        f"Question 4. {ENGLISH.upper()} (A) FEV1 (B) FVC",
        ENGLISH.replace(" ", "\n"),
        ENGLISH.replace(",", "").replace("-", " - "),
        "选择题：" + ENGLISH + "答案：甲",
    ],
)
def test_an_english_item_is_found_in_another_layout(text: str) -> None:
    exams = index((ENGLISH, "en"))
    assert positions(exams, text, lang="zh") == [0]
    assert positions(exams, text, lang="en") == [0]


def test_a_passage_one_character_short_is_not_found() -> None:
    folded = fold_text(QUESTION)
    exams = index(QUESTION)
    for start in range(len(folded) - 30):
        assert positions(exams, f"甲{folded[start : start + 29]}乙", f"甲{folded[start : start + 30]}乙") == [
            1
        ]


def test_a_passage_one_word_short_is_not_found() -> None:
    words = ENGLISH.split()
    exams = index((ENGLISH.replace("-", ""), "en"))
    plain = [word.replace("-", "") for word in words]
    for start in range(len(plain) - 13):
        near, long = (" ".join(["xx", *plain[start : start + n], "yy"]) for n in (12, 13))
        assert positions(exams, near, long, lang="en") == [1]


def test_lengths_can_be_set() -> None:
    exams = index(QUESTION, characters=12, short_characters=12)
    assert positions(exams, fold_text(QUESTION)[5:17], fold_text(QUESTION)[5:16]) == [0]


def test_a_short_item_is_found_as_a_whole_only() -> None:
    short = "下列哪项不是糖尿病酮症酸中毒的诱因"
    assert 16 <= len(short) < 30
    exams = index(short, "高血压的治疗", short.replace("诱因", "表现"))
    assert exams.facts["too_short"] == 1
    found = find(exams, f"问：{short}？", short[:-1], "高血压的治疗方法", f"{short[:-2]}表现是")
    assert found["position"].to_list() == [0, 3]
    assert found["exam_id"].to_list() == ["e0", "e2"]
    assert found["item_share"].to_list() == [1.0, 1.0]


def test_numbers_tell_items_apart() -> None:
    item = "某药每次10mg口服，一日三次，连用七天后血钾降至2.8mmol/L，应首先采取的措施是什么"
    exams = index(item)
    assert positions(exams, item, item.replace("10mg", "1.0mg").replace("2.8", "28")) == [0]


def test_a_phrase_of_too_many_items_is_no_sign() -> None:
    phrase = "关于本病的流行病学临床表现实验室检查诊断和治疗的叙述下列哪一项是不正确的"
    items = [f"{phrase}（第{chr(0x4E00 + n)}{chr(0x5E00 + n)}病）" for n in range(6)]
    assert positions(index(*items, most_items=6), phrase) == [0]
    few = index(*items, most_items=5)
    assert few.facts["common_phrases"] > 0
    assert positions(few, phrase) == []
    assert positions(few, items[2]) == [0], "an n-gram at its end is its own"


def test_one_item_in_several_texts_is_one_item() -> None:
    items = pl.DataFrame({"id": ["a"] * 12, "text": [QUESTION] * 12, "lang": ["zh"] * 12})
    exams = ExamIndex.build(items)
    assert exams.facts["items"] == 1
    assert exams.facts["common_phrases"] == 0
    assert positions(exams, QUESTION) == [0]


def test_an_answer_counts_only_if_most_of_it_is_there() -> None:
    phrases = ["建议您保持乐观的心情避免劳累注意休息饮食宜清淡忌食辛辣刺激的食物", "祝您早日康复"]
    advice = "本例考虑为焦虑状态引起的躯体不适，可口服药物并配合心理治疗，四周后复诊评估疗效"
    answer = f"{phrases[0]}。{advice}。{phrases[1]}"
    items = pl.DataFrame(
        {"id": ["q", "q"], "text": [QUESTION, answer], "lang": ["zh", "zh"], "is_answer": [False, True]}
    )
    texts = (f"胃炎患者请注意：{phrases[0]}。", f"答：{answer}", QUESTION)
    found = find(ExamIndex.build(items), *texts)
    assert found["position"].to_list() == [1, 2]
    assert found["item_share"].to_list() == [1.0, 1.0]
    strict = ExamIndex.build(items, config=ContaminationConfig(answer_share=0))
    assert positions(strict, *texts) == [0, 1, 2]


def test_the_finding_names_the_passage_and_its_share() -> None:
    folded = fold_text(QUESTION)
    found = find(index(QUESTION), "甲" * 50 + folded + "乙" * (50 - len(folded)) + "丙" * len(folded))
    assert found["span"].item() == folded
    assert found["share"].item() == pytest.approx(len(folded) / (100 + len(folded)))
    assert found["item_share"].item() == 1.0
    words = len(re.findall(r"\w+", ENGLISH))
    english = find(index((ENGLISH, "en")), f"Well: {ENGLISH}!", lang="en")
    assert english["span"].item() == ENGLISH.rstrip("?")
    assert english["share"].item() == pytest.approx(words / (words + 1))


def test_two_passages_and_two_items_are_told_apart() -> None:
    other = fold_text(article(7))[:60]
    text = f"{fold_text(QUESTION)}{'丁' * 40}{other}"
    found = find(index(other, QUESTION), text)
    assert found["span"].item() == fold_text(QUESTION)
    assert found["share"].item() == pytest.approx((len(fold_text(QUESTION)) + 60) / len(text))


def test_nothing_in_nothing() -> None:
    empty = ExamIndex.build(pl.DataFrame(schema={"id": pl.String, "text": pl.String, "lang": pl.String}))
    assert find(empty, QUESTION, None, "").is_empty()
    assert find(index(QUESTION), None, "", " ").is_empty()
    assert find(index(QUESTION)).schema == find(empty, "x").schema


def test_more_units_than_allowed_are_refused() -> None:
    with pytest.raises(ContaminationError, match="raise 'most_units'"):
        index(QUESTION, article(1), most_units=100)
    with pytest.raises(ContaminationError, match="more than 60 characters and words"):
        index(QUESTION, (ENGLISH, "en"), most_units=60)


def test_a_short_item_is_not_longer_than_an_ngram() -> None:
    with pytest.raises(ValidationError, match="'short_words' must not be greater than 'words'"):
        ContaminationConfig(words=5, short_words=6)


alphabet = st.text(st.sampled_from("甲乙丙"), max_size=60)


@given(st.lists(alphabet, max_size=5), st.lists(alphabet, max_size=5))
@settings(max_examples=100, deadline=None)
def test_what_is_found_is_what_a_plain_search_finds(items: list[str], texts: list[str]) -> None:
    exams = index(*items, characters=12, short_characters=8, most_items=10)
    grams = {item[n : n + 12] for item in items for n in range(len(item) - 11)}
    grams |= {item for item in items if 8 <= len(item) < 12}
    expected = [n for n, text in enumerate(texts) if any(gram in text for gram in grams)]
    assert positions(exams, *texts) == expected


@given(st.lists(st.text(st.sampled_from("ab "), max_size=40), max_size=4), st.data())
@settings(max_examples=100, deadline=None)
def test_words_are_found_as_a_plain_search_finds_them(items: list[str], data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text(st.sampled_from("ab ,"), max_size=40), max_size=4))
    exams = index(*((item, "en") for item in items), words=4, short_words=3)

    def runs(text: str, length: int) -> set[tuple[str, ...]]:
        words = text.replace(",", " ").split()
        return {tuple(words[n : n + length]) for n in range(len(words) - length + 1)}

    full = set().union(*(runs(item, 4) for item in items))
    short = {tuple(item.split()) for item in items if len(item.split()) == 3}
    expected = [n for n, text in enumerate(texts) if runs(text, 4) & full or runs(text, 3) & short]
    assert positions(exams, *texts, lang="en") == expected


def test_a_million_random_characters_hold_no_item() -> None:
    draw = random.Random(4)
    signs = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
    exams = index(*("".join(draw.choices(signs, k=200)) for _ in range(200)))
    texts = ["".join(draw.choices(signs, k=10_000)) for _ in range(100)]
    texts[50] += str(exams.characters.units[1000:1030].tobytes().decode("utf-16"))
    assert positions(exams, *texts) == [50]


def test_characters_beyond_the_basic_plane_and_long_texts() -> None:
    item = "𠀀" * 10 + string.ascii_lowercase + "𠮷野家的病例讨论"
    assert positions(index(item), "甲" * 300_000 + item, "𠀀" * 9) == [0]


WRAPPED, WRAP = "([\u4e00-\u9fff]{4})(?=[\u4e00-\u9fff])", r"\1 \n"
"""A line break between Chinese characters; where numbers stand, spaces and marks say something."""


def test_clinical_cases_of_cmb_are_found_in_another_layout() -> None:
    cases = pl.read_json(shared_data("cmb/CMB-test-qa.json"))
    items = cases.select(
        pl.col("id").cast(pl.String),
        text=pl.concat_str("title", "description", separator="\n"),
        lang=pl.lit("zh"),
    )
    exams = ExamIndex.build(items)
    planted = [
        f"{article(n)}\n{re.sub(WRAPPED, WRAP, text[len(text) // 3 :][:120])}\n{article(n + 100)}"
        for n, text in enumerate(items["text"])
    ]
    found = find(exams, *planted)
    assert found["position"].to_list() == list(range(len(planted)))
    assert found["exam_id"].to_list() == items["id"].to_list()
    assert positions(exams, *map(article, range(200))) == []


def test_medqa_does_not_stand_in_other_english_texts() -> None:
    items = pl.concat(
        pl.read_ndjson(path).select(pl.col("question").alias("text"))
        for path in sorted(shared_data("medqa/questions/US/4_options").glob("*.jsonl"))
    ).with_row_index("id")
    items = items.select(pl.col("id").cast(pl.String), "text", lang=pl.lit("en"))
    exams = ExamIndex.build(items)
    copies = items["text"].str.replace_all("the", "THE").str.replace_all(" ", "  ")
    found = find_contaminated(copies, pl.Series(["en"] * len(copies)), exams)
    assert found.height == len(copies)
    assert found["item_share"].min() == 1.0
    book = shared_data("wikitext-2/valid.txt").read_text()
    assert positions(exams, book, lang="en") == []
