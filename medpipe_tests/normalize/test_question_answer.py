"""Question and answer in every key spelling and shape of value in which they are published."""

from __future__ import annotations

from typing import Any

import pytest

from medpipe.catalog.layouts import QuestionAnswerLayout
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import Talk, read, spoken, talks

QA = QuestionAnswerLayout
Q, A = "得了感冒要休息吗？", "要，多喝水，睡够八小时。"
ONE = [spoken(Q, A)]

GOLDEN: dict[str, tuple[QuestionAnswerLayout, list[Any], list[Talk]]] = {
    "question, answer": (QA(), [{"id": 7, "question": Q, "answer": A}], ONE),
    "问, 答": (QA(question="问", answer="答"), [{"问": Q, "答": A}], ONE),
    "query, response": (QA(question="query", answer="response"), [{"query": Q, "response": A}], ONE),
    "alternative answers": (
        QA(question="body", answer="ideal_answer", answer_list="first"),
        [{"body": Q, "ideal_answer": ["", A, "不必。"]}, {"body": Q, "ideal_answer": A}],
        ONE * 2,
    ),
    "title and ask": (
        QA(question=("title", "ask"), answer="answer"),
        [
            {"department": "内科", "title": "感冒", "ask": Q, "answer": A},
            {"department": "内科", "title": Q, "ask": "无", "answer": A},
            {"department": "内科", "title": Q, "ask": "", "answer": A},
            {"department": "内科", "title": None, "ask": Q, "answer": A},
        ],
        [spoken(f"感冒\n{Q}", A), *ONE * 3],
    ),
    "instruction, input, output": (
        QA(question=("instruction", "input"), answer="output"),
        [
            {"instruction": "译成中文", "input": "headache", "output": "头痛"},
            {"instruction": Q, "input": "", "output": A},
            {"instruction": None, "input": "体温？", "output": 38.5},
        ],
        [spoken("译成中文\nheadache", "头痛"), *ONE, spoken("体温？", "38.5")],
    ),
    "two shapes in one file": (
        QA(question=("instruction", "instruct", "input"), answer="output", history="history"),
        [
            {"id": "1", "instruction": Q, "input": "", "output": A, "history": [["在吗？", "在的。"]]},
            {"instruct": f"  {Q}", "output": A},
        ],
        [spoken("在吗？", "在的。", Q, A), *ONE],
    ),
    "two names of the answer": (
        QA(pairs="QA_pairs", context=("title", "description"), answer=("answer", "solution")),
        [
            {
                "title": "病例一",
                "description": "男，30岁。\n体温 38.5℃",
                "QA_pairs": [
                    {"question": "诊断？", "answer": "感冒。"},
                    {"question": "治疗？", "answer": "休息。"},
                ],
            },
            {
                "title": "病例二",
                "description": None,
                "QA_pairs": [{"question": "诊断？", "solution": "流感。"}],
            },
        ],
        [
            spoken("病例一\n男，30岁。\n体温 38.5℃\n诊断？", "感冒。", "治疗？", "休息。"),
            spoken("病例二\n诊断？", "流感。"),
        ],
    ),
    "answers joined from several fields": (
        QA(answer=("answer", "advice")),
        [{"question": Q, "answer": "要。", "advice": "多喝水。"}, {"question": Q, "advice": A}],
        [spoken(Q, "要。\n多喝水。"), *ONE],
    ),
    "pairs without keys": (QA(question="0", answer="1"), [[Q, A], [[Q], [A]]], ONE * 2),
    "a list of pairs without keys": (
        QA(pairs="rounds", question="0", answer="1"),
        [{"rounds": [[Q, A], ["", ""], ["要吃药吗？", "不用。"]]}],
        [spoken(Q, A, "要吃药吗？", "不用。")],
    ),
    "a list with one string": (
        QA(question=("instruction", "input"), answer="output"),
        [{"id": "", "instruction": [Q], "input": "", "output": [A]}],
        ONE,
    ),
    "questions and answers as lists, nested once or not": (
        QA(question="questions", answer="answers"),
        [
            {"questions": [[Q, "感冒了该休息吗？"]], "answers": [A]},
            {"questions": [Q, "感冒了该休息吗？"], "answers": [[A]]},
            {"questions": ["", Q], "answers": A},
        ],
        ONE * 3,
    ),
    "short answers of a knowledge graph": (
        QA(question="questions", answer="answers"),
        [
            {"questions": ["感冒有哪些症状？"], "answers": ["流涕", "咳嗽", "", "流涕很久。"]},
            {"questions": ["感冒有哪些症状？"], "answers": ["流涕", "", "咳嗽"]},
        ],
        [spoken("感冒有哪些症状？", "流涕\n咳嗽\n流涕很久。"), spoken("感冒有哪些症状？", "流涕；咳嗽")],
    ),
    "markers": (
        QA(markers=("<s>", "问：", "问题：", "答：", "回答：")),
        [
            {"question": f"<s>问：\n{Q}\n答：\n", "answer": A},
            {"question": f"问题：{Q}\n回答: ", "answer": f"答:{A}"},
            {"question": f" 问 ：{Q}", "answer": f"回答：\n答： {A}\n</s>"},
        ],
        ONE * 3,
    ),
    "a passage before the question": (
        QA(question="QUESTION", context="CONTEXTS", answer="LONG_ANSWER"),
        [{"QUESTION": "有效吗？", "CONTEXTS": ["共 20 例。", " ", "18 例好转。"], "LONG_ANSWER": "有效。"}],
        [spoken("共 20 例。\n18 例好转。\n有效吗？", "有效。")],
    ),
    "a passage before the first round": (
        QA(context="case", history="history"),
        [{"case": "男，30岁", "question": "然后？", "answer": "复查。", "history": [["", ""], [Q, A]]}],
        [spoken(f"男，30岁\n{Q}", A, "然后？", "复查。")],
    ),
    "history as a literal in a table's cell": (
        QA(history="history"),
        [
            {"question": Q, "answer": A, "history": "[]"},
            {"question": Q, "answer": A, "history": ""},
            {"question": Q, "answer": A, "history": '[["在吗？", "在的。"]]'},
            {"question": Q, "answer": A, "history": "[['在吗？', '在的。']]"},
        ],
        [*ONE * 2, *[spoken("在吗？", "在的。", Q, A)] * 2],
    ),
    "KTO": (
        QA(desirable="kto_tag"),
        [{"question": Q, "answer": A, "kto_tag": tag} for tag in (True, 1, "true", "True")],
        ONE * 4,
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    layout, rows, expected = GOLDEN[name]
    frame, reasons = read(layout, *rows)
    assert talks(frame) == expected
    assert reasons == {}
    assert frame["system"].to_list() == [None] * len(rows)


def test_joiners_follow_the_language() -> None:
    frame, _ = read(QA(), {"question": "Signs?", "answer": ["fever", "cough"]}, language=Language.EN)
    assert talks(frame) == [spoken("Signs?", "fever; cough")]


def test_system_prompts() -> None:
    frame, reasons = read(
        QA(system="system", history="history"),
        {"question": Q, "answer": A, "system": "你是医生。 ", "history": [["在吗？", "在的。"]]},
        {"question": Q, "answer": A, "system": ""},
        {"question": Q, "answer": A, "system": None},
        {"question": Q, "answer": A},
        {"question": Q, "answer": A, "system": {"role": "医生"}},
    )
    assert frame["system"].to_list() == ["你是医生。", None, None, None]
    assert reasons == {104: "unexpected_type"}


def test_every_question_and_answer_must_say_something() -> None:
    layout = QA(question=("question", "more"), history="history", system="system")
    rows: list[Any] = [
        {"question": "", "answer": A},
        {"question": "&nbsp;\u200b", "answer": A},
        {"question": "无", "more": "", "answer": A},
        {"question": "None", "answer": A},
        {"question": Q, "answer": ""},
        {"question": Q, "answer": []},
        {"question": Q, "answer": "nan"},
        {"question": Q, "answer": None},
        {"question": "", "answer": ""},
        {"question": Q, "answer": A, "history": [["在吗？", "<br>"]]},
        {"question": Q, "answer": A, "history": [["", "在的。"]]},
    ]
    frame, reasons = read(layout, *rows)
    assert frame.height == 0
    assert list(reasons.values()) == [
        *["empty_question"] * 4, *["empty_answer"] * 4, "empty_question", "empty_answer", "empty_question",
    ]  # fmt: skip


def test_a_marker_alone_is_no_question() -> None:
    _, reasons = read(QA(markers=("问：", "答：")), {"question": "问：\n答：", "answer": A})
    assert reasons == {100: "empty_question"}


def test_rows_that_lack_a_part_or_hold_something_else() -> None:
    layout = QA(history="history", desirable="tag")
    good = {"question": Q, "answer": A, "tag": True}
    _, reasons = read(
        layout,
        {"question": Q, "tag": True},
        {"answer": A, "tag": True},
        good | {"question": {"a": 1}},
        good | {"answer": [True]},
        good | {"history": ["x"]},
        good | {"history": [["x", "y", "z"]]},
        good | {"history": "问过两次"},
        good | {"tag": False},
        good | {"tag": "0"},
        good | {"tag": None},
        good | {"tag": "maybe"},
        {"question": Q, "answer": A},
        Q,
        None,
        [Q, A],
    )
    assert list(reasons.values()) == [
        *["missing_field"] * 2, *["unexpected_type"] * 5, *["undesirable"] * 2, *["unexpected_type"] * 2,
        *["missing_field"] * 4,
    ]  # fmt: skip


def test_required_fields() -> None:
    layout = QA(question=("instruction", "input"), answer="output", required=("instruction", "output"))
    good = {"instruction": "译成中文", "input": "headache", "output": "头痛"}
    frame, reasons = read(
        layout,
        good,
        good | {"input": None},
        good | {"instruction": " "},
        good | {"output": ""},
        good | {"instruction": ["译成中文"]},
        {"input": "headache", "output": "头痛"},
    )
    assert talks(frame) == [spoken("译成中文\nheadache", "头痛"), spoken("译成中文", "头痛")]
    assert list(reasons.values()) == ["empty_question", "empty_answer", "unexpected_type", "missing_field"]


def test_pairs_that_give_nothing() -> None:
    layout = QA(pairs="pairs", context="case")
    _, reasons = read(
        layout,
        {"case": "男", "pairs": []},
        {"case": "男", "pairs": [{"question": "", "answer": None}]},
        {"case": "男", "pairs": [{"question": Q, "answer": A}, {"question": Q, "answer": ""}]},
        {"case": "男", "pairs": [{"question": Q}]},
        {"case": "男", "pairs": {"question": Q, "answer": A}},
        {"case": "男"},
    )
    assert list(reasons.values()) == [
        *["no_question"] * 2, "empty_answer", "missing_field", "unexpected_type", "missing_field",
    ]  # fmt: skip


def test_an_answer_that_spells_out_a_list_is_its_items_where_the_layout_says_so() -> None:
    rows = [
        {"question": "有哪些症状？", "answer": "['发热', '咳嗽']"},
        {"question": "多久？", "answer": "[3天]左右"},
    ]
    for spelled_out, expected in ((True, "发热；咳嗽"), (False, "['发热', '咳嗽']")):
        frame, _ = read(QA(spelled_out=spelled_out), *rows)
        answers = [turns[1]["content"] for turns in frame["turns"].to_list()]
        assert answers == [expected, "[3天]左右"]
