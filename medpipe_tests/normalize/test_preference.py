"""Preferences in the five layouts of pairs, and ranked lists."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.catalog.layouts import PreferenceLayout, TurnsLayout
from medpipe_tests.normalize.reading import Talk, read, spoken, talks

P = PreferenceLayout
Q, GOOD, BAD = "失眠怎么办？", "规律作息，睡前不看手机。", "不知道。"
BEFORE = ("最近睡不好", "多久了？")
PLAIN = {"chosen": "chosen", "rejected": "rejected"}
SHAREGPT = TurnsLayout()
OPENAI = TurnsLayout(turns="messages", role="role", content="content")


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


GOLDEN: dict[str, tuple[PreferenceLayout, dict[str, Any], Talk]] = {
    "question, response_chosen, response_rejected": (
        P(system="system", history="history"),
        {"system": "你是医生。", "history": [list(BEFORE), ["", ""]], "question": Q,
         "response_chosen": f"\u3000\u3000{GOOD}", "response_rejected": BAD},
        spoken(*BEFORE, Q),
    ),
    "instruction, input, chosen, rejected": (
        P(prompt=("instruction", "input"), system="system", **PLAIN),
        {"system": "你是医生。", "instruction": "请回答", "input": Q, "chosen": GOOD, "rejected": BAD},
        spoken(f"请回答\n{Q}"),
    ),
    "conversations and strings": (
        P(messages=SHAREGPT, **PLAIN),
        {"conversations": [
            {"from": "system", "value": "你是医生。"}, {"from": "human", "value": BEFORE[0]},
            {"from": "gpt", "value": BEFORE[1]}, {"from": "human", "value": Q}],
         "chosen": GOOD, "rejected": BAD},
        spoken(*BEFORE, Q),
    ),
    "conversations and messages": (
        P(messages=TurnsLayout(system_field="system"), **PLAIN),
        {"system": "你是医生。", "conversations": [{"from": "human", "value": Q}],
         "chosen": {"from": "gpt", "value": GOOD}, "rejected": {"from": "gpt", "value": BAD}},
        spoken(Q),
    ),
    "whole message lists": (
        P(messages=OPENAI, **PLAIN),
        {"chosen": [system("你是医生。"), user(BEFORE[0]), assistant(BEFORE[1]), user(Q), assistant(GOOD)],
         "rejected": [system("你是医生。"), user(BEFORE[0]), assistant(BEFORE[1]), user(Q), assistant(BAD)]},
        spoken(*BEFORE, Q),
    ),
    "messages and the answers after them": (
        P(messages=OPENAI, **PLAIN),
        {"messages": [system("你是医生。"), user(Q)],
         "chosen": [assistant(GOOD)], "rejected": [assistant(BAD)]},
        spoken(Q),
    ),
    "messages of another layout than the prompt's, whose field is null": (
        P(messages=SHAREGPT, system="system", **PLAIN),
        {"system": "你是医生。", "conversations": None, "chosen": [user(Q), assistant(GOOD)],
         "rejected": [user(Q), assistant(BAD)]},
        spoken(Q),
    ),
    "a prompt that the message lists repeat": (
        P(prompt="prompt", system="system", **PLAIN),
        {"system": "你是医生。", "prompt": BEFORE[0],
         "chosen": [user(f" {BEFORE[0]}"), assistant(BEFORE[1]), user(Q), assistant(GOOD)],
         "rejected": [user(BEFORE[0]), assistant(BEFORE[1]), user(Q), assistant(BAD)]},
        spoken(*BEFORE, Q),
    ),
    "whole ShareGPT lists without a prompt of their own": (
        P(system="system", **PLAIN),
        {"system": "你是医生。",
         "chosen": [{"from": "human", "value": Q}, {"from": "gpt", "value": GOOD}],
         "rejected": [{"from": "human", "value": Q}, {"from": "gpt", "value": BAD}]},
        spoken(Q),
    ),
    "a ranked list of two": (
        P(prompt=("instruction", "input"), system="system", history="history", ranked="output"),
        {"system": "你是医生。", "instruction": Q, "input": "", "output": [GOOD, BAD],
         "history": [list(BEFORE)]},
        spoken(*BEFORE, Q),
    ),
    "a field an answer": (
        P(prompt="query", system="system", history="history", ranked=("rank1", "rank2", "rank3")),
        {"system": "你是医生。", "query": Q, "history": f"[['{BEFORE[0]}', '{BEFORE[1]}']]", "rank1": GOOD,
         "rank2": BAD, "rank3": None},
        spoken(*BEFORE, Q),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    layout, row, prompt = GOLDEN[name]
    frame, reasons = read(layout, row)
    assert reasons == {}
    assert talks(frame, "prompt") == [prompt]
    assert frame.select("system", "chosen", "rejected").rows() == [("你是医生。", GOOD, BAD)]


def pairs(frame: pl.DataFrame) -> list[tuple[int, int, str, str]]:
    return frame.select("row", "part", "chosen", "rejected").rows()


def test_every_ranked_answer_meets_every_worse_one() -> None:
    frame, reasons = read(
        P(ranked="answers"),
        {"question": Q, "answers": ["甲", "乙", "丙"]},
        {"question": Q, "answers": ["甲", " 甲", "乙", "&nbsp;", "甲"]},
        {"question": Q, "answers": [{"from": "gpt", "value": "甲"}, {"from": "gpt", "value": "乙"}]},
        {"question": Q, "answers": "['甲', '乙']"},
    )
    assert reasons == {}
    assert pairs(frame) == [
        (100, 0, "甲", "乙"), (100, 1, "甲", "丙"), (100, 2, "乙", "丙"),
        (101, 0, "甲", "乙"), (102, 0, "甲", "乙"), (103, 0, "甲", "乙"),
    ]  # fmt: skip
    assert frame["system"].to_list() == [None] * 6


@given(st.lists(st.sampled_from(["", "甲", "乙 ", "丙", "丁", "甲。"]), max_size=8))
def test_ranks_never_contradict_each_other(answers: list[str]) -> None:
    frame, reasons = read(P(ranked="answers"), {"question": Q, "answers": answers})
    distinct = list(dict.fromkeys(text.strip() for text in answers if text.strip()))
    expected = [(better, worse) for i, better in enumerate(distinct) for worse in distinct[i + 1 :]]
    assert frame.select("chosen", "rejected").rows() == expected
    assert reasons == ({} if expected else {100: "single_answer"})


def test_rejections_of_pairs() -> None:
    good = {"instruction": "头痛", "input": "三天", "chosen": "就医", "rejected": "喝酒"}
    layout = P(prompt=("instruction", "input"), history="history", **PLAIN)
    rows: list[tuple[Any, str]] = [
        (good | {"rejected": " 就医\n"}, "identical_answers"),
        (good | {"instruction": "", "input": ""}, "empty_question"),
        (good | {"instruction": "<br>", "input": None}, "empty_question"),
        (good | {"rejected": ""}, "empty_answer"),
        (good | {"chosen": [], "rejected": "&nbsp;"}, "empty_answer"),
        (good | {"chosen": {"a": 1}}, "missing_field"),
        (good | {"chosen": True}, "unexpected_type"),
        (good | {"chosen": {"role": "user", "content": "就医"}}, "no_answer"),
        (good | {"chosen": {"role": "critic", "content": "就医"}}, "unknown_role"),
        (good | {"history": [["在吗？", " "]]}, "empty_answer"),
        (good | {"history": [["", "在的。"]]}, "empty_question"),
        (good | {"history": ["在吗？"]}, "unexpected_type"),
        (good | {"chosen": [user("头痛"), assistant("就医")], "rejected": [user("腹痛"), assistant("x")]},
         "different_prompts"),
        ({"instruction": "头痛", "chosen": "就医"}, "missing_field"),
        ({"chosen": "就医", "rejected": "喝酒"}, "missing_field"),
        ([], "missing_field"),
        ("头痛", "missing_field"),
    ]  # fmt: skip
    _, reasons = read(layout, *[row for row, _ in rows])
    assert list(reasons.values()) == [reason for _, reason in rows]


def test_rejections_of_messages() -> None:
    good = {"chosen": "就医", "rejected": "喝酒"}
    rows: list[tuple[Any, str]] = [
        (good | {"messages": []}, "no_question"),
        (good | {"messages": [user(" ")]}, "no_question"),
        (good | {"messages": [system("你是医生。")]}, "no_question"),
        (good | {"messages": [assistant("您好"), user("头痛")]}, "no_question"),
        (good | {"messages": [user("头痛"), assistant("您好")]}, "no_question"),
        (good | {"messages": "头痛"}, "unknown_role"),
        (good | {"messages": 5}, "unexpected_type"),
        (good, "missing_field"),
    ]
    _, reasons = read(P(messages=OPENAI, **PLAIN), *[row for row, _ in rows])
    assert list(reasons.values()) == [reason for _, reason in rows]


def test_rejections_of_ranks() -> None:
    rows: list[tuple[Any, str]] = [
        ({"question": Q, "answers": []}, "single_answer"),
        ({"question": Q, "answers": ["甲"]}, "single_answer"),
        ({"question": Q, "answers": ["", None]}, "single_answer"),
        ({"question": "", "answers": ["甲", "乙"]}, "empty_question"),
        ({"question": Q, "answers": "甲"}, "unexpected_type"),
        ({"question": Q, "answers": ["甲", True]}, "unexpected_type"),
        ({"question": Q}, "missing_field"),
    ]
    _, reasons = read(P(ranked="answers"), *[row for row, _ in rows])
    assert list(reasons.values()) == [reason for _, reason in rows]
    _, reasons = read(P(ranked=("rank1", "rank2")), {"question": Q}, {"question": Q, "rank2": "甲"})
    assert list(reasons.values()) == ["missing_field", "single_answer"]
