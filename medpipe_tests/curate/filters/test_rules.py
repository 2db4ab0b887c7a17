"""Each rule: a text that breaks it and no other, and one that just does not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import polars as pl
import pytest

from medpipe.curate.filters.judge import judge
from medpipe.curate.filters.measures import measure
from medpipe.curate.filters.registry import RULES
from medpipe.records.kinds import Language
from medpipe_tests.curate.filters.prose import en, word, zh

LONG = "".join(word(number, 7) for number in range(200))
CYRILLIC = "".join(chr(code) for code in range(0x430, 0x52F))
KANA = "".join(chr(code) for code in range(0x3041, 0x3060))
QUESTION = "[QUESTION] 这种药一天吃几次，饭前还是饭后？ [ANSWER] "


def lines(*parts: str) -> str:
    return "\n".join(parts)


def between(gram: str, plain: int, times: int = 24) -> str:
    """A gram so many times, with plain text of so many characters behind each."""
    text = zh(times * plain).replace("的", "").replace("。", "") + zh(600, start=9000).replace("的", "")
    return "".join(gram + text[place * plain : (place + 1) * plain] for place in range(times))


def marks(punctuation: int, symbols: int) -> str:
    """So many marks and symbols in an order that repeats nothing for long."""
    shuffled = random.Random(3)
    found = shuffled.choices("。《》、！？；：—“”·（）【】", k=punctuation) + shuffled.choices(
        "+=~<>|^$℃×÷", k=symbols
    )
    shuffled.shuffle(found)
    return "".join(found)


def repeated(length: int, characters: int) -> str:
    """A text of 300 characters and so many of its first, in runs of `length` that stood before."""
    return zh(300) + zh(300)[:characters]


DROPPED: dict[str, tuple[str, str, str]] = {
    "encoding_v1/broken": ("zh", zh(98) + "\ufffd\ufffd\ue123", zh(98) + "\ufffd\ufffd"),
    "encoding_v1/mojibake": ("zh", zh(94) + "锛鈥銆锛鐨鈥", zh(95) + "锛鈥銆锛鐨"),
    "language_v1/han": ("zh", en(60), en(60).replace("the", "好药").replace("of", "用法")),
    "language_v1/latin": ("en", en(45) + CYRILLIC, en(120) + CYRILLIC),
    "language_v2/kana": ("zh", zh(70) + KANA[:28], zh(90) + KANA[:22]),
    "language_v1/foreign": ("other", en(40) + CYRILLIC, en(120) + CYRILLIC),
    "length_v1/characters": ("zh", "头痛\n发热", "头痛\n发热。"),
    "length_v1/answer": ("zh", QUESTION, QUESTION + "三"),
    "length_v1/longest_word": ("zh", zh(700) + LONG[:1001], zh(700) + LONG[:1000]),
    "medical_v1/link_answer": (
        "zh",
        QUESTION + "http://example.org/q/1.html",
        QUESTION + "一天三次，见http://example.org/q/1.html",
    ),
    "medical_v2/refusal": (
        "zh",
        QUESTION + "您好，很抱歉，作为一个人工智能语言模型，我无法提供用药建议。请咨询医生，祝您早日康复！",
        QUESTION + "很抱歉，我无法提供用药建议。一般一天三次，饭后吃，漏服了不补吃两次的量，孕妇慎用。",
    ),
    "medical_v1/dangling_label": ("zh", zh(60) + "医生询问：", zh(60) + "医生询问：多久了？"),
    "medical_v2/forum_boilerplate": (
        "zh",
        QUESTION + "感谢您的咨询，祝您早日康复！如果还有其他问题，可以随时咨询。",
        QUESTION + "一天三次饭后吃，孕妇慎用，忌酒。感谢您的咨询，祝您早日康复！",
    ),
    "medical_v1/advertisement": (
        "zh",
        zh(60) + "免费咨询热线4001234567，加微信领取，在线预约。",
        zh(1000) + "免费咨询热线4001234567，加微信领取，在线预约。",
    ),
    "repetition_v1/answer": (
        "zh",
        QUESTION.replace("？", "？" + zh(50, start=5000)) + zh(50) * 2,
        QUESTION.replace("？", "？" + zh(50, start=5000)) + zh(50) + zh(50)[:30],
    ),
    "gopher_repetition_v1/top_2_gram": ("zh", between("甲乙", 2), between("甲乙", 3)),
    "gopher_repetition_v1/top_3_gram": ("zh", between("甲乙丙", 3), between("甲乙丙", 4)),
    "gopher_repetition_v1/top_4_gram": ("zh", between("甲乙丙丁", 4), between("甲乙丙丁", 5)),
    "symbols_v1/alphanumeric": ("zh", zh(29) + marks(42, 29), zh(36) + marks(42, 29)),
    "symbols_v1/symbols": ("zh", zh(60) + marks(0, 32), zh(75) + marks(0, 32)),
    "symbols_v1/digits": (
        "zh",
        zh(60) + "、".join(str(number) for number in range(200, 260)),
        zh(120) + "、".join(str(number) for number in range(200, 260)),
    ),
    "symbols_v1/punctuation": ("zh", zh(45) + marks(54, 0), zh(60) + marks(54, 0)),
    "gopher_quality_v1/mean_word_length_least": (
        "en",
        " ".join(word(number, 2) for number in range(100)),
        " ".join(word(number, 3) for number in range(100)),
    ),
    "gopher_quality_v1/mean_word_length": (
        "en",
        " ".join(word(number, 11) for number in range(100)),
        " ".join(word(number, 10) for number in range(100)),
    ),
    "gopher_quality_v1/hashes": ("en", en(40) + "#" * 5, en(50) + "#" * 5),
    "gopher_quality_v1/ellipses": (
        "en",
        " ".join(f"{en(4, start=4 * number)[:-1]}…" for number in range(20)),
        " ".join(f"{en(11, start=11 * number)[:-1]}…" for number in range(20)),
    ),
    "gopher_quality_v1/ellipsis_lines": (
        "zh",
        lines(*(zh(30, start=90 * number)[:-1] + "……" for number in range(10))),
        lines(*(zh(30, start=90 * number)[:-1] + "……" for number in range(9)), zh(30, start=1000)),
    ),
    "gopher_quality_v1/alphabetic_words": (
        "en",
        en(30) + " " + " ".join(str(number) for number in range(100, 150)),
        en(60) + " " + " ".join(str(number) for number in range(100, 150)),
    ),
    "c4_v1/lorem_ipsum": ("en", en(60) + " Lorem ipsum dolor.", en(60) + " Lorem dolor ipsum."),
}
"""Language, a text that is rejected for the rule, and one that is kept."""

REPEATING: dict[str, tuple[str, str]] = {
    "gopher_repetition_v1/duplicate_lines": (
        lines(*(zh(60, start=200 * number) for number in range(9)), *["甲乙丙"] * 12),
        lines(*(zh(60, start=200 * number) for number in range(10)), *["甲乙丙"] * 11),
    ),
    "gopher_repetition_v1/duplicate_line_characters": (
        lines(zh(100), zh(100), zh(20, start=900), zh(15, start=1800)),
        lines(zh(100), zh(100), zh(20, start=900), zh(40, start=1800)),
    ),
    "gopher_repetition_v1/duplicate_paragraphs": (
        "\n\n".join([*(zh(60, start=200 * number) for number in range(9)), *["甲乙丙"] * 12]),
        "\n\n".join([*(zh(60, start=200 * number) for number in range(10)), *["甲乙丙"] * 11]),
    ),
    "gopher_repetition_v1/duplicate_paragraph_characters": (
        "\n\n".join([zh(100), zh(100), zh(20, start=900), zh(15, start=1800)]),
        "\n\n".join([zh(100), zh(100), zh(20, start=900), zh(40, start=1800)]),
    ),
    "gopher_repetition_v1/duplicate_5_gram": (zh(300) * 2 + zh(30), zh(300) * 2),
    "gopher_repetition_v1/duplicate_6_gram": (repeated(6, 288), repeated(6, 270)),
    "gopher_repetition_v1/duplicate_7_gram": (repeated(7, 266), repeated(7, 252)),
    "gopher_repetition_v1/duplicate_8_gram": (repeated(8, 240), repeated(8, 232)),
    "gopher_repetition_v1/duplicate_9_gram": (repeated(9, 225), repeated(9, 216)),
    "gopher_repetition_v1/duplicate_10_gram": (repeated(10, 210), repeated(10, 200)),
    "repetition_v1/same_character": (zh(30) + "啊" * 31, zh(31) + "啊" * 31),
}
"""In Chinese: a text that is rejected for it or for other repetitions, and one that does not break it."""

RAW: dict[str, tuple[str, str, str]] = {
    "length_v1/mean_line": (
        "zh",
        lines(*(zh(7, start=70 * number) for number in range(12))),
        lines(*(zh(8, start=70 * number) for number in range(12))),
    ),
    "medical_v1/self_disclosure": ("zh", "我是一个人工智能助手。" + zh(60), "人工智能看片很快。" + zh(60)),
    "medical_v1/open_end": ("zh", zh(80) + "治疗包括：", zh(80) + "治疗包括手术。"),
    "medical_v1/teaser": ("zh", zh(80) + "[查看全文]", zh(80) + "请查看全文所附的说明书。"),
    "medical_v1/graph_template": (
        "zh",
        "布洛芬缓释胶囊的不良反应包括恶心呕吐胃烧灼感头晕耳鸣与皮疹。",
        zh(80),
    ),
    "gopher_quality_v1/words": ("en", en(49), en(50)),
    "gopher_quality_v1/bullet_lines": (
        "zh",
        lines(*(f"•{zh(30, start=90 * number)}" for number in range(10))),
        lines(*(f"•{zh(30, start=90 * number)}" for number in range(9)), zh(30, start=1000)),
    ),
    "gopher_quality_v1/stop_words": (
        "en",
        " ".join(word(number) + ("." if number % 10 == 9 else "") for number in range(60)) + " The of.",
        " ".join(word(number) + ("." if number % 10 == 9 else "") for number in range(60)) + " the of.",
    ),
    "gopher_quality_v1/function_characters": ("zh", zh(200).replace("的", "药"), zh(200)),
    "c4_v1/sentences": ("en", en(60).replace(".", ",")[:-1] + ". a. b. c.", en(60)),
    "c4_v1/curly_brackets": ("en", en(60) + " {x}.", en(60) + " (x)."),
    "c4_v1/javascript": ("en", en(60) + " JavaScript.", en(60) + " Java script."),
    "c4_v1/policy": ("en", en(60) + " Our cookie policy.", en(60) + " Our policy."),
    "fineweb_v1/char_dup": (
        "en",
        lines(*(en(20, start=20 * number) for number in range(9)), en(20)),
        lines(*(en(20, start=20 * number) for number in range(10))),
    ),
    "fineweb_v1/short_line": (
        "en",
        lines(
            *(en(5, start=5 * number) for number in range(7)), *(en(20, start=100 + 20 * n) for n in range(3))
        ),
        lines(
            *(en(5, start=5 * number) for number in range(6)), *(en(20, start=100 + 20 * n) for n in range(4))
        ),
    ),
    "fineweb_v1/line_punct": (
        "en",
        lines(*(en(20, start=20 * number)[:-1] for number in range(9)), en(20, start=900)),
        lines(*(en(20, start=20 * number)[:-1] for number in range(4)), en(20, start=900)),
    ),
    "fineweb_v1/list_ratio": (
        "zh",
        lines(*(zh(8, start=70 * number) + "\n\n\n" for number in range(12))),
        lines(*(zh(24, start=70 * number) + "\n\n\n" for number in range(12))),
    ),
    "c4_v1/terminal_marks": (
        "en",
        lines(*(en(20, start=20 * number)[:-1] for number in range(9))),
        lines(*(en(20, start=20 * number)[:-1] for number in range(8)), en(20, start=900)),
    ),
    "tier/refined_v1": ("zh", zh(40), zh(60)),
}
"""Language, a text that is kept but not refined, and one that the rule lets be refined."""


def broken(text: str, lang: str, *, tier: bool = False) -> set[str]:
    """All rules that a text breaks, beyond the limit to drop or to refine."""
    measured = measure(pl.DataFrame({"text": [text]}))
    found = set()
    for rule in RULES.values():
        limits = rule.limits.get(Language(lang))
        limit = limits and (limits.refine if tier else limits.drop)
        if limit is not None and measured.select(rule.breaks(limit)).item():
            found.add(rule.name)
    return found


def verdict(text: str, lang: str) -> dict[str, object]:
    return judge(pl.DataFrame({"text": [text], "lang": [lang]})).row(0, named=True)


@pytest.mark.parametrize("rule", DROPPED)
def test_a_text_that_breaks_one_rule_is_rejected_for_it(rule: str) -> None:
    lang, bad, good = DROPPED[rule]
    assert broken(bad, lang) == {rule}
    assert verdict(bad, lang)["reason"] == rule
    assert broken(good, lang) == set()
    assert verdict(good, lang)["reason"] is None


@pytest.mark.parametrize("rule", REPEATING)
def test_repetition_beyond_the_limit_and_just_within(rule: str) -> None:
    bad, good = REPEATING[rule]
    assert rule in broken(bad, "zh")
    assert {RULES[name].group for name in broken(bad, "zh")} == {"repetition"}
    assert verdict(bad, "zh")["reason"] in broken(bad, "zh")
    assert rule not in broken(good, "zh")


@pytest.mark.parametrize("rule", RAW)
def test_a_text_that_breaks_a_rule_of_the_tier_is_kept_but_raw(rule: str) -> None:
    lang, bad, good = RAW[rule]
    assert verdict(bad, lang)["reason"] is None
    assert not verdict(bad, lang)["refined"]
    assert rule in broken(bad, lang, tier=True)
    assert rule not in broken(good, lang, tier=True)


def test_every_rule_has_its_texts() -> None:
    unlimited = {"bad_words_v1/any", "gopher_quality_v1/too_many_words"}  # see test_judge
    assert {*DROPPED, *RAW, *REPEATING, *unlimited} == set(RULES)


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        ("您没有提供图片。如果您提供图片，我才能回答。", True),
        ("Sorry, as an AI language model I cannot diagnose you. Please consult a doctor.", True),
        ("Sorry, I cannot see you. Take 1.5 g twice a day with food. Stop if a rash appears.", False),
        ("抱歉回复晚了。一天三次，饭后吃，漏服了不能补吃两次的量。", False),
    ],
)
def test_a_refusal_is_dropped_only_if_it_says_nothing_else(answer: str, is_refusal: bool) -> None:
    assert (verdict(QUESTION + answer, "zh")["reason"] == "medical_v2/refusal") == is_refusal


def test_marks_between_phrases_of_courtesy_are_no_content() -> None:
    assert verdict(QUESTION + "不客气，祝早日康复。", "zh")["reason"] == "medical_v2/forum_boilerplate"


def test_a_question_that_repeats_itself_and_a_list_do_not_condemn_the_answer() -> None:
    asked_twice = QUESTION.replace("？", "？" + zh(40, start=5000) * 2) + zh(60)
    alike = lines(*(f"药品{number}，用法：一日三次饭后温水送服。" for number in range(1, 7)))
    assert "repetition_v1/answer" not in broken(asked_twice, "zh") | broken(QUESTION + alike, "zh")


def survivors() -> Sequence[str]:
    return (
        "布洛芬缓释胶囊：成人一次0.3g（1粒），一日2次（早晚各一次），饭后服。儿童用量请咨询医师。",
        "白细胞 12.4×10⁹/L↑（3.5～9.5），中性粒细胞 85.2%↑，C反应蛋白 56.3mg/L↑（<8），血糖 5.6mmol/L。",
        "药品|规格|用法\n阿司匹林|100mg×30片|每日1次\n氯吡格雷|75mg×7片|每日1次\n阿托伐他汀|20mg×7片|每晚1次。",
        "名称：过敏性鼻炎。别名：变应性鼻炎。就诊科室：耳鼻喉科。常用药：氯雷他定片,布地奈德鼻喷雾剂",
        "麻黄（去节，三两） 桂枝（去皮，二两） 甘草（炙，一两） 杏仁（七十个）。以水九升，先煮麻黄。",
    )


@pytest.mark.parametrize("text", survivors())
def test_doses_tables_and_laboratory_values_are_kept(text: str) -> None:
    assert verdict(text, "zh")["reason"] is None
