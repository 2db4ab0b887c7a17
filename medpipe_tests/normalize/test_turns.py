"""Conversations in the layouts in which they are published: objects, prefixed strings, packed strings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.catalog.layouts import TurnsLayout
from medpipe_tests.normalize.reading import Talk, read, spoken, talks

OPENAI = {"role": "role", "content": "content"}
Q1, A1, Q2, A2 = "头痛三天", "有没有发热？", "37.8℃，吃了药", "多喝水，明天复查。"
BOTH = [spoken(Q1, A1, Q2, A2)]
WEATHER = {"name": "drug_search", "arguments": '{"name": "布洛芬"}'}

GOLDEN: dict[str, tuple[TurnsLayout, list[Any], list[Talk]]] = {
    "ShareGPT": (
        TurnsLayout(),
        [
            {"id": "a", "conversations": [
                {"from": "human", "value": Q1}, {"from": "gpt", "value": A1},
                {"from": "Human ", "value": "37.8℃，"}, {"from": "user", "value": "吃了药"},
                {"from": "gpt", "value": None}, {"from": "gpt", "value": "多喝水，\r\n明天复查。"}]},
            [{"from": "human", "value": Q1}, {"from": "gpt", "value": A1}],
        ],
        [spoken(Q1, A1, "37.8℃，\n吃了药", "多喝水，\n明天复查。"), spoken(Q1, A1)],
    ),
    "DISC": (
        TurnsLayout(turns="conversation", **OPENAI),
        [{"_id": "1", "source": "x", "conversation": [
            {"role": "user", "content": Q1}, {"role": "assistant", "content": A1}]}],
        [spoken(Q1, A1)],
    ),
    "OpenAI, content in parts": (
        TurnsLayout(turns="messages", **OPENAI),
        [{"messages": [
            {"role": "user", "content": [{"type": "text", "text": "头痛"}, {"type": "text", "text": "三天"}]},
            {"role": "assistant", "content": [A1]}]}],
        [spoken("头痛\n三天", A1)],
    ),
    "OpenAI, a tool": (
        TurnsLayout(turns="messages", **OPENAI),
        [{"messages": [
            {"role": "user", "content": "布洛芬怎么吃？"},
            {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": WEATHER}]},
            {"role": "tool", "tool_call_id": "1", "content": "一次0.2g"},
            {"role": "assistant", "content": "查到了。", "tool_calls": [WEATHER, WEATHER]},
            {"role": "assistant", "content": "一次0.2g，饭后。"}]}],
        [[
            ("user", "布洛芬怎么吃？"),
            ("function", json.dumps(WEATHER, separators=(",", ":"), ensure_ascii=False)),
            ("observation", "一次0.2g"),
            ("assistant", "查到了。"),
            ("function", json.dumps([WEATHER, WEATHER], separators=(",", ":"), ensure_ascii=False)),
            ("assistant", "一次0.2g，饭后。"),
        ]],
    ),
    "ShareGPT, a tool": (
        TurnsLayout(),
        [{"conversations": [
            {"from": "human", "value": "布洛芬怎么吃？"}, {"from": "function_call", "value": "{}"},
            {"from": "observation", "value": "一次0.2g"}, {"from": "gpt", "value": "一次0.2g。"}]}],
        [[("user", "布洛芬怎么吃？"), ("function", "{}"), ("observation", "一次0.2g"),
          ("assistant", "一次0.2g。")]],
    ),
    "strings with a spoken prefix": (
        TurnsLayout(turns="data", user=("问：", "患者"), assistant=("答：",)),
        [
            {"data": [f"问：{Q1}", f"答： {A1}", f"问:{Q2}", f"答 :{A2}"]},
            {"data": [f"患者 ：{Q1}", "答：休息：多睡"]},
        ],
        [*BOTH, spoken(Q1, "休息：多睡")],
    ),
    "strings that take turns": (
        TurnsLayout(turns="dialog", user=(), assistant=()),
        [{"dialog": [f"{Q1}\n", A1, Q2, A2]}, [Q1, A1]],
        [*BOTH, spoken(Q1, A1)],
    ),
    "first words outside the list": (
        TurnsLayout(turns="dialog", user=(), assistant=(), opening="account"),
        [{"account": Q1, "dialog": ["", A1]}, {"account": None, "dialog": [Q1, A1]}],
        [spoken(Q1, A1)] * 2,
    ),
    "packed in one string with the answer outside": (
        TurnsLayout(turns="instruction", user="<user>:", assistant="<bot>:", answer="output"),
        [
            {"instruction": f" <user>: {Q1} <bot>: {A1} <user>: {Q2}", "input": "", "output": A2},
            {"instruction": f"<USER>：{Q1}\n<bot> : {A1}\n<user>:{Q2}", "output": ["多喝水，明天复查。"]},
        ],
        BOTH * 2,
    ),
    "packed in one string with names": (
        TurnsLayout(turns="value", user="问：", assistant="答："),
        [f"问：{Q1}。答：{A1}问：{Q2}。\n答:{A2}", f"问：医生问：{Q1}？ 答：{A1}"],
        [spoken(f"{Q1}。", A1, f"{Q2}。", A2), spoken(f"医生问：{Q1}？", A1)],
    ),
    "packed in one string with names in brackets": (
        TurnsLayout(turns="text", user="[User]", assistant="[Assistant]"),
        [{"text": f"[User] {Q1} [Assistant] {A1} [user]: {Q2} [Assistant] {A2}"}],
        BOTH,
    ),
    "roles beside contents": (
        TurnsLayout(turns="dialogue_turns", role="speaker", content="utterance", user="0", assistant="1"),
        [{"dialogue_turns": {"speaker": [0, 1, 0, 1], "utterance": [Q1, A1, Q2, A2]}}],
        BOTH,
    ),
    "a list as a literal in a table's cell": (
        TurnsLayout(turns="messages", **OPENAI),
        [{"messages": "[{'role': 'user', 'content': '头痛'}, {'role': 'assistant', 'content': '多久了？'}]"}],
        [spoken("头痛", "多久了？")],
    ),
    "the first words outside the list": (
        TurnsLayout(turns="dialogue", role="speaker", content="sentence", user="患者", assistant="医生",
                    opening="self_report"),
        [
            {"self_report": Q1, "dialogue": [{"speaker": "医生", "sentence": A1}]},
            {"self_report": "头痛", "dialogue": [
                {"speaker": "患者", "sentence": "三天"}, {"speaker": "医生", "sentence": A1}]},
            {"self_report": f"{Q1}\n", "dialogue": [
                {"speaker": "患者", "sentence": Q1}, {"speaker": "医生", "sentence": A1}]},
            {"self_report": None, "dialogue": [
                {"speaker": "患者", "sentence": Q1}, {"speaker": "医生", "sentence": A1}]},
        ],
        [spoken(Q1, A1), spoken("头痛\n三天", A1), *[spoken(Q1, A1)] * 2],
    ),
    "KTO": (
        TurnsLayout(desirable="label"),
        [{"conversations": [{"from": "human", "value": Q1}, {"from": "gpt", "value": A1}], "label": True}],
        [spoken(Q1, A1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    layout, rows, expected = GOLDEN[name]
    frame, reasons = read(layout, *rows)
    assert talks(frame) == expected
    assert reasons == {}
    assert frame["system"].to_list() == [None] * len(rows)


def test_system_prompts_inside_and_outside() -> None:
    round_ = [{"from": "human", "value": Q1}, {"from": "gpt", "value": A1}]
    inside = [{"from": "system", "value": "你是医生。"}, *round_]
    frame, reasons = read(
        TurnsLayout(system_field="system"),
        {"conversations": inside},
        {"conversations": round_, "system": "你是医生。"},
        {"conversations": inside, "system": "请用中文。"},
        {"conversations": inside, "system": "你是医生。"},
        {"conversations": round_, "system": " "},
        {"conversations": round_, "system": 5.0},
        {"conversations": round_, "system": {}},
    )
    prompts = ["你是医生。", "你是医生。", "请用中文。\n你是医生。", "你是医生。", None, "5.0"]
    assert frame["system"].to_list() == prompts
    assert talks(frame) == [spoken(Q1, A1)] * 6
    assert reasons == {106: "unexpected_type"}


def test_a_question_at_the_end_stays_unanswered() -> None:
    turns = [{"from": "human", "value": Q1}, {"from": "gpt", "value": A1}, {"from": "human", "value": "谢谢"}]
    frame, _ = read(TurnsLayout(), {"conversations": turns})
    assert talks(frame) == [spoken(Q1, A1, "谢谢")]


def test_rejections_of_lists() -> None:
    call = {"from": "gpt", "value": "", "tool_calls": "f()"}
    rows: list[tuple[Any, str]] = [
        ([], "no_question"),
        ([{"from": "human", "value": "问"}], "no_answer"),
        ([{"from": "human", "value": "问"}, {"from": "gpt", "value": "\u200b"}], "no_answer"),
        ([{"from": "human", "value": "问"}, call], "no_answer"),
        ([{"from": "gpt", "value": "您好"}, {"from": "human", "value": "问"}], "no_question"),
        ([{"from": "human", "value": ""}, {"from": "gpt", "value": "答"}], "no_question"),
        ([{"from": "observation", "value": "x"}, {"from": "gpt", "value": "答"}], "no_question"),
        ([{"from": "critic", "value": "x"}], "unknown_role"),
        ([{"from": None, "value": "x"}], "unknown_role"),
        ([{"value": "x"}], "missing_field"),
        ([{"from": "human"}], "missing_field"),
        ([{"from": "human", "value": {"x": 1}}], "unexpected_type"),
        ([{"from": "human", "value": [{"type": "image_url", "image_url": "x"}]}], "unexpected_type"),
        ([{"from": "human", "value": [3]}], "unexpected_type"),
        ([{"from": "human", "value": "问", "tool_calls": 3}], "unexpected_type"),
        ([5], "unexpected_type"),
        (["问"], "unknown_role"),
        ("头痛三天", "unknown_role"),
        (7, "unexpected_type"),
        ({"from": ["human"], "value": "问"}, "unexpected_type"),
        ({"from": ["human"], "value": ["问", "答"]}, "unexpected_type"),
    ]
    _, reasons = read(TurnsLayout(), *[{"conversations": turns} for turns, _ in rows], {"messages": []}, 7)
    assert list(reasons.values()) == [*[reason for _, reason in rows], "missing_field", "missing_field"]


def test_rejections_of_strings() -> None:
    layout = TurnsLayout(turns="text", user="<user>:", assistant="<bot>:", answer="output", desirable="good")
    good = {"text": "<user>: 问", "output": "答", "good": True}
    _, reasons = read(
        layout,
        good | {"text": "问"},
        good | {"text": "说明 <user>: 问"},
        good | {"text": "<user> 问"},
        good | {"text": " "},
        good | {"text": "<bot>: 您好 <user>: 问"},
        good | {"output": " "},
        good | {"output": None},
        good | {"output": {}},
        {"text": "<user>: 问", "good": True},
        good | {"good": False},
    )
    assert list(reasons.values()) == [
        *["unknown_role"] * 3, *["no_question"] * 2, *["empty_answer"] * 2, "unexpected_type",
        "missing_field", "undesirable",
    ]  # fmt: skip


CONTENT = st.text(st.sampled_from("头痛怎么办？：:。3.0 <>xz用户"), min_size=1, max_size=20).map(
    lambda text: f"是{text.strip()}的"
)


@given(st.lists(CONTENT, min_size=2, max_size=7), st.sampled_from(["<user>: {}", "<user>：{}"]))
def test_a_packed_string_gives_back_what_was_packed(contents: list[str], user: str) -> None:
    layout = TurnsLayout(turns="value", user="<user>:", assistant="<bot>:")
    packed = " ".join(
        user.format(text) if i % 2 == 0 else f"<bot>: {text}" for i, text in enumerate(contents)
    )
    frame, reasons = read(layout, packed)
    assert reasons == {}
    assert [content for _, content in talks(frame)[0]] == contents


@given(st.lists(st.text(st.sampled_from("头痛怎么办？。3.0 问答"), min_size=1), min_size=2, max_size=7))
def test_a_string_packed_by_lines_gives_back_what_was_packed(contents: list[str]) -> None:
    contents = [f"是{text.strip()}的" for text in contents]
    layout = TurnsLayout(turns="value", user="问：", assistant="答：")
    packed = "\n".join(f"{'答' if i % 2 else '问'}：{text}" for i, text in enumerate(contents))
    frame, _ = read(layout, packed)
    assert [content for _, content in talks(frame)[0]] == contents


def test_words_for_a_missing_value_are_no_turn() -> None:
    layout = TurnsLayout(turns="messages", **OPENAI)
    messages = [("user", Q1), ("assistant", "None"), ("user", "nan"), ("assistant", A1)]
    row = {"messages": [{"role": role, "content": content} for role, content in messages]}
    assert talks(read(layout, row)[0]) == [spoken(Q1, A1)]
    prefixed = TurnsLayout(turns="dialog", user=("问：",), assistant=("答：",))
    rows = ({"dialog": [f"问：{Q1}", "答：None", f"答：{A1}"]}, {"dialog": f"问：{Q1}\n答：nan\n答：{A1}"})
    assert talks(read(prefixed, *rows)[0]) == [spoken(Q1, A1)] * 2
    in_turn = TurnsLayout(turns="dialog", user=(), assistant=())
    frame, reasons = read(in_turn, {"dialog": [Q1, "nan"]}, {"dialog": [Q1, A1, "None"]})
    assert talks(frame) == [spoken(Q1, A1)]
    assert reasons == {100: "no_answer"}


def test_a_tool_may_return_null() -> None:
    said = [("user", Q1), ("assistant", A1), ("tool", "null"), ("assistant", A2)]
    row = {"messages": [{"role": role, "content": content} for role, content in said]}
    (talk,) = talks(read(TurnsLayout(turns="messages", **OPENAI), row)[0])
    assert talk[2] == ("observation", "null")
