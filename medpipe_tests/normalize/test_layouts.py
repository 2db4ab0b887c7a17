from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from medpipe.catalog.layouts import (
    FieldsLayout,
    Layout,
    PreferenceLayout,
    QuestionAnswerLayout,
    TextLayout,
    TurnsLayout,
)
from medpipe.normalize.extracted import RAW_CHARACTERS, Batch
from medpipe.normalize.layouts import read_layout
from medpipe.records.kinds import Language


def read(
    layout: Layout, *values: Any, language: Language = Language.ZH
) -> tuple[pl.DataFrame, dict[int, str]]:
    """Records and reasons by row; rows are numbered from 100 to tell them from positions."""
    batch = Batch(rows=[100 + i for i in range(len(values))], values=list(values))
    frame = read_layout(batch, layout, language)
    assert set(frame["row"]) | {r.row for r in batch.rejections.values()} == set(batch.rows)
    assert not set(frame["row"]) & {r.row for r in batch.rejections.values()}
    rejections = sorted(batch.rejections.values(), key=lambda rejection: rejection.row)
    return frame, {rejection.row: rejection.reason for rejection in rejections}


def turns_of(frame: pl.DataFrame) -> list[list[tuple[str, str]]]:
    return [[(turn["role"], turn["content"]) for turn in talk] for talk in frame["turns"].to_list()]


class TestText:
    def test_strings_objects_and_titles(self) -> None:
        layout = TextLayout(title="title")
        frame, reasons = read(
            layout,
            "  一行\u200b文字 ",
            {"text": "正文", "title": "标题"},
            {"text": "标题\n正文", "title": "标题"},
            {"text": "正文", "title": None},
            {"text": "正文", "title": "&nbsp;"},
            ["独个"],
        )
        assert frame["text"].to_list() == ["一行文字", "标题\n正文", "标题\n正文", "正文", "正文", "独个"]
        assert frame["row"].to_list() == [100, 101, 102, 103, 104, 105]
        assert reasons == {}

    def test_rejections(self) -> None:
        frame, reasons = read(
            TextLayout(),
            {"txt": "x"},
            {"text": " \ufeff "},
            {"text": None},
            5,
            {"text": ["a", "b"]},
            ["a", "b"],
            "",
        )
        assert frame.height == 0
        assert reasons == {
            100: "missing_field",
            101: "empty_text",
            102: "empty_text",
            103: "unexpected_type",
            104: "unexpected_type",
            105: "unexpected_type",
            106: "empty_text",
        }

    def test_another_field(self) -> None:
        frame, _ = read(TextLayout(text="completion"), {"completion": "条目", "source": "x"})
        assert frame["text"].to_list() == ["条目"]


class TestFields:
    def test_records_and_rejections(self) -> None:
        frame, reasons = read(
            FieldsLayout(),
            {"_id": {"$oid": "1"}, "name": "甲病", "symptom": ["咳嗽"]},
            "甲病",
            {"_id": {"$oid": "2"}, "note": "x"},
            {"name": "", "desc": None, "symptom": []},
            {},
            {"name": "乙病"},
        )
        assert frame["text"].to_list() == ["名称：甲病。症状：咳嗽", "名称：乙病"]
        assert frame["row"].to_list() == [100, 105]
        assert frame["part"].to_list() == [0, 0]
        assert reasons == {
            101: "unexpected_type",
            102: "no_known_field",
            103: "empty_text",
            104: "no_known_field",
        }


class TestQuestionAnswer:
    def test_question_fields_are_joined(self) -> None:
        layout = QuestionAnswerLayout(question=("instruction", "input"), answer="output")
        frame, _ = read(
            layout,
            {"instruction": "翻译", "input": "headache", "output": "头痛"},
            {"instruction": "头痛怎么办？", "input": "", "output": "休息"},
            {"instruction": None, "input": "发热？", "output": 38.5},
        )
        assert turns_of(frame) == [
            [("user", "翻译\nheadache"), ("assistant", "头痛")],
            [("user", "头痛怎么办？"), ("assistant", "休息")],
            [("user", "发热？"), ("assistant", "38.5")],
        ]
        assert frame["system"].to_list() == [None, None, None]

    def test_nested_lists(self) -> None:
        layout = QuestionAnswerLayout(question=("questions",), answer="answers")
        frame, _ = read(
            layout,
            {"questions": [["问一", "换句话"]], "answers": ["答一。"]},
            {"questions": ["", "问二"], "answers": ["甲", "乙", ""]},
            {"questions": "问三", "answers": ["句一。", "句二。"]},
        )
        assert turns_of(frame) == [
            [("user", "问一"), ("assistant", "答一。")],
            [("user", "问二"), ("assistant", "甲；乙")],
            [("user", "问三"), ("assistant", "句一。\n句二。")],
        ]

    def test_history_and_system(self) -> None:
        layout = QuestionAnswerLayout(answer="answer", history="history", system="system")
        frame, reasons = read(
            layout,
            {
                "question": "问三",
                "answer": "答三",
                "history": [["问一", "答一"], ["问二", "答二"]],
                "system": "医生",
            },
            {"question": "问", "answer": "答", "history": [], "system": ""},
            {"question": "问", "answer": "答", "history": None},
            {"question": "问", "answer": "答", "history": [["", ""]]},
            {"question": "问", "answer": "答", "history": [["只有问", ""]]},
            {"question": "问", "answer": "答", "history": ["x"]},
            {"question": "问", "answer": "答", "history": "x"},
        )
        rounds = [("user", "问一"), ("assistant", "答一"), ("user", "问二"), ("assistant", "答二")]
        short = [("user", "问"), ("assistant", "答")]
        assert turns_of(frame) == [[*rounds, ("user", "问三"), ("assistant", "答三")], short, short, short]
        assert frame["system"].to_list() == ["医生", None, None, None]
        assert reasons == {104: "empty_answer", 105: "unexpected_type", 106: "unexpected_type"}

    def test_rejections(self) -> None:
        _, reasons = read(
            QuestionAnswerLayout(),
            {"question": "", "answer": "答"},
            {"question": "&nbsp;", "answer": "答"},
            {"question": "问", "answer": ""},
            {"question": "问", "answer": []},
            {"question": "问"},
            {"answer": "答"},
            {"question": {"a": 1}, "answer": "答"},
            {"question": "问", "answer": [True]},
            "问",
            None,
        )
        assert list(reasons.values()) == [
            "empty_question",
            "empty_question",
            "empty_answer",
            "empty_answer",
            "missing_field",
            "missing_field",
            "unexpected_type",
            "unexpected_type",
            "unexpected_type",
            "unexpected_type",
        ]


class TestTurns:
    def test_objects(self) -> None:
        frame, _ = read(
            TurnsLayout(),
            {
                "conversations": [
                    {"from": "system", "value": "你是医生"},
                    {"from": "human", "value": "头痛"},
                    {"from": "Human ", "value": "还发热"},
                    {"from": "gpt", "value": None},
                    {"from": "gpt", "value": "休息\r\n多饮水"},
                    {"from": "human", "value": "谢谢"},
                ]
            },
            [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}],
        )
        assert turns_of(frame) == [
            [("user", "头痛\n还发热"), ("assistant", "休息\n多饮水"), ("user", "谢谢")],
            [("user", "问"), ("assistant", "答")],
        ]
        assert frame["system"].to_list() == ["你是医生", None]

    def test_spoken_prefixes(self) -> None:
        layout = TurnsLayout(turns="data", user=("问：", "患者"), assistant=("答：",), system=())
        frame, reasons = read(
            layout,
            {"data": ["问：头痛？", "答： 休息：多睡", "问:要吃药吗", "答:遵医嘱"]},
            {"data": ["患者 ：头痛", "答：休息"]},
            {"data": ["问：头痛", "休息"]},
            {"data": ["问头痛", "答：休息"]},
        )
        assert turns_of(frame) == [
            [("user", "头痛？"), ("assistant", "休息：多睡"), ("user", "要吃药吗"), ("assistant", "遵医嘱")],
            [("user", "头痛"), ("assistant", "休息")],
        ]
        assert reasons == {102: "unknown_role", 103: "unknown_role"}

    def test_rejections(self) -> None:
        _, reasons = read(
            TurnsLayout(),
            {"conversations": []},
            {"conversations": [{"from": "human", "value": "问"}]},
            {"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "\u200b"}]},
            {"conversations": [{"from": "gpt", "value": "您好"}, {"from": "human", "value": "问"}]},
            {"conversations": [{"from": "human", "value": ""}, {"from": "gpt", "value": "答"}]},
            {"conversations": [{"from": "observation", "value": "x"}]},
            {"conversations": [{"value": "x"}]},
            {"conversations": [{"from": "human", "value": ["x"]}]},
            {"conversations": [5]},
            {"conversations": "x"},
            {"messages": []},
            7,
        )
        assert reasons == {
            100: "no_question",
            101: "no_answer",
            102: "no_answer",
            103: "no_question",
            104: "no_question",
            105: "unknown_role",
            106: "missing_field",
            107: "unexpected_type",
            108: "unexpected_type",
            109: "unexpected_type",
            110: "missing_field",
            111: "unexpected_type",
        }


class TestPreference:
    def test_pairs_and_rejections(self) -> None:
        frame, reasons = read(
            PreferenceLayout(prompt=("instruction", "input"), chosen="chosen", rejected="rejected"),
            {"instruction": "头痛", "input": "三天", "chosen": "\u3000\u3000就医。", "rejected": "喝酒"},
            {"instruction": "头痛", "input": "", "chosen": "就医", "rejected": " 就医\n"},
            {"instruction": "", "input": "", "chosen": "就医", "rejected": "喝酒"},
            {"instruction": "头痛", "chosen": "就医", "rejected": ""},
            {"instruction": "头痛", "chosen": "就医"},
            {"instruction": "头痛", "chosen": {"a": 1}, "rejected": "x"},
            [],
        )
        assert frame["row"].to_list() == [100]
        assert frame["chosen"].to_list() == ["就医。"]
        assert frame["rejected"].to_list() == ["喝酒"]
        assert frame["prompt"].to_list() == [[{"role": "user", "content": "头痛\n三天"}]]
        assert reasons == {
            101: "identical_answers",
            102: "empty_question",
            103: "empty_answer",
            104: "missing_field",
            105: "unexpected_type",
            106: "unexpected_type",
        }


@pytest.mark.parametrize(
    "layout", [TextLayout(), FieldsLayout(), QuestionAnswerLayout(), TurnsLayout(), PreferenceLayout()]
)
def test_nothing_in_gives_nothing_out_with_the_same_columns(layout: Layout) -> None:
    empty, _ = read(layout)
    junk, reasons = read(layout, 1, None, True, {"x": 1})
    assert empty.height == junk.height == 0
    assert empty.schema == junk.schema
    assert len(reasons) == 4


def test_a_rejected_row_is_kept_as_published_up_to_a_limit() -> None:
    batch = Batch(rows=[0, 1], values=[{"note": "长" * 5_000}, 3])
    read_layout(batch, TextLayout(), Language.ZH)
    raws = [rejection.raw for rejection in batch.rejections.values()]
    assert raws[0] is not None
    assert raws[0].startswith('{"note":"长长')
    assert len(raws[0]) == RAW_CHARACTERS
    assert raws[1] == "3"
