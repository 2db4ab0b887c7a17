"""Exam questions with options in the shapes in which they are published."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.layouts import MultipleChoiceLayout
from medpipe.catalog.source import FileFormat
from medpipe.ingest.readers import read_rows
from medpipe.normalize.layouts.choices import Option, answer_labels, without_labels
from medpipe.records.kinds import Kind, Language
from medpipe_tests.normalize.reading import read, spoken, talks
from medpipe_tests.shared_data import shared_data

Q = "成人每日剂量是多少？"
DICT = MultipleChoiceLayout(options="option", subject="exam_subject")
FIELDS = MultipleChoiceLayout(
    options=("opa", "opb", "opc", "opd"),
    answer="cop",
    answer_is="index_from_1",
    explanation="exp",
    subject="sub",
)
COLUMNS = MultipleChoiceLayout(options=("A", "B", "C", "D"), explanation="explanation")
YES_NO = MultipleChoiceLayout(
    question="QUESTION",
    context="CONTEXTS",
    choices=("yes", "no", "maybe"),
    answer="final_decision",
    answer_is="text",
    explanation="LONG_ANSWER",
)

GOLDEN: dict[str, tuple[MultipleChoiceLayout, dict[str, Any], str, list[str], list[str], str | None, str]] = {
    "an object of options, several right ones": (
        DICT,
        {
            "exam_subject": "药学",
            "question": Q,
            "option": {"A": "≥0.5g", "B": "0.5~1.0g", "C": "<br/>2g ", "D": "", "E": "5μg"},
            "answer": "CA",
        },
        Q,
        ["A. ≥0.5g", "B. 0.5~1.0g", "C. 2g", "E. 5μg"],
        ["A", "C"],
        "药学",
        "A. ≥0.5g\nC. 2g",
    ),
    "a field an option, the answer counted from one": (
        FIELDS,
        {
            "question": Q,
            "opa": "1g",
            "opb": "",
            "opc": "3g",
            "opd": 4,
            "cop": 3,
            "exp": "每日三次。",
            "sub": None,
        },
        Q,
        ["A. 1g", "C. 3g", "D. 4"],
        ["C"],
        None,
        "C. 3g\n每日三次。",
    ),
    "columns named by letters": (
        COLUMNS,
        {
            "id": "0",
            "question": Q,
            "A": "1g",
            "B": "2g",
            "C": "3g",
            "D": "4g",
            "answer": " b ",
            "explanation": "",
        },
        Q,
        ["A. 1g", "B. 2g", "C. 3g", "D. 4g"],
        ["B"],
        None,
        "B. 2g",
    ),
    "the answer's text, in other case": (
        MultipleChoiceLayout(answer_is="text"),
        {
            "question": "Which?",
            "options": {"A": "Rest", "B": "Bed  rest"},
            "answer": "bed rest",
            "answer_idx": "B",
        },
        "Which?",
        ["A. Rest", "B. Bed  rest"],
        ["B"],
        None,
        "B. Bed  rest",
    ),
    "a list of texts that carry their labels": (
        MultipleChoiceLayout(),
        {"question": Q, "options": ["A．1g", "B. 2g", "(C)3g"], "answer": ["A", "C"]},
        Q,
        ["A. 1g", "B. 2g", "C. 3g"],
        ["A", "C"],
        None,
        "A. 1g\nC. 3g",
    ),
    "a list of objects": (
        MultipleChoiceLayout(answer_is="index_from_0"),
        {
            "question": Q,
            "options": [{"key": "甲", "value": "1g"}, {"key": "乙", "value": "2g"}],
            "answer": "1",
        },
        Q,
        ["甲. 1g", "乙. 2g"],
        ["乙"],
        None,
        "乙. 2g",
    ),
    "options and answers that a cell holds as text": (
        MultipleChoiceLayout(),
        {"question": Q, "options": "{'A': '1g', 'B': '2g'}", "answer": "['B', 'A']"},
        Q,
        ["A. 1g", "B. 2g"],
        ["A", "B"],
        None,
        "A. 1g\nB. 2g",
    ),
    "the same options for all, below their context": (
        YES_NO,
        {
            "QUESTION": "Does it help?",
            "CONTEXTS": ["We asked 12 people.", "P&lt;0.05."],
            "final_decision": "maybe",
            "LONG_ANSWER": "It may.",
        },
        "We asked 12 people.\nP<0.05.\nDoes it help?",
        ["A. yes", "B. no", "C. maybe"],
        ["C"],
        None,
        "C. maybe\nIt may.",
    ),
    "options that the question repeats": (
        MultipleChoiceLayout(),
        {"question": "选哪个？\nA. 一 B. 二", "options": ["一", "二"], "answer": "B"},
        "选哪个？\nA. 一 B. 二",
        ["A. 一", "B. 二"],
        ["B"],
        None,
        "B. 二",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    layout, row, question, options, answers, subject, said = GOLDEN[name]
    exam, reasons = read(layout, row, kind=Kind.EXAM_ITEM)
    assert reasons == {}
    (item,) = exam.drop("row", "part").to_dicts()
    assert item["question"] == question
    assert [f"{option['label']}. {option['text']}" for option in item["options"]] == options
    assert item["answers"] == answers
    assert item["subject"] == subject
    talk, _ = read(layout, row, kind=Kind.CONVERSATION)
    assert talks(talk) == [spoken("\n".join([question, *options]), said)]
    assert talk["system"].to_list() == [None]


@pytest.mark.parametrize(
    ("layout", "changes", "reason"),
    [
        (DICT, {"question": None}, "empty_question"),
        (DICT, {"question": "&nbsp;"}, "empty_question"),
        (DICT, {"question": {"a": 1}}, "unexpected_type"),
        (DICT, {"option": None}, "empty_options"),
        (DICT, {"option": {}}, "empty_options"),
        (DICT, {"option": {"A": "1g", "B": "\u200b"}}, "empty_options"),
        (DICT, {"option": "A. 1g B. 2g"}, "empty_options"),
        (DICT, {"option": 5}, "unexpected_type"),
        (DICT, {"option": [{"text": "1g"}, {"text": "2g"}]}, "unexpected_type"),
        (DICT, {"answer": ""}, "empty_answer"),
        (DICT, {"answer": None}, "empty_answer"),
        (DICT, {"answer": []}, "empty_answer"),
        (DICT, {"answer": "C"}, "unknown_answer"),
        (DICT, {"answer": "AC"}, "unknown_answer"),
        (DICT, {"answer": "1g"}, "unknown_answer"),
        (DICT, {"answer": {"A": 1}}, "unexpected_type"),
        (DICT, {"option": {"A": "1g", "B": "2g", "C": " "}, "answer": "C"}, "unknown_answer"),
        (DICT.model_copy(update={"answer_is": "index_from_1"}), {"answer": 0}, "unknown_answer"),
        (DICT.model_copy(update={"answer_is": "index_from_1"}), {"answer": 3}, "unknown_answer"),
        (DICT.model_copy(update={"answer_is": "index_from_0"}), {"answer": -1}, "unknown_answer"),
        (DICT.model_copy(update={"answer_is": "index_from_0"}), {"answer": "A"}, "unknown_answer"),
        (DICT.model_copy(update={"answer_is": "text"}), {"answer": "3g"}, "unknown_answer"),
    ],
)
def test_questions_that_cannot_be_asked(
    layout: MultipleChoiceLayout, changes: dict[str, Any], reason: str
) -> None:
    whole = {"question": Q, "option": {"A": "1g", "B": "2g"}, "answer": "A"}
    for kind in (Kind.EXAM_ITEM, Kind.CONVERSATION):
        frame, reasons = read(layout, whole | changes, kind=kind)
        assert frame.height == 0
        assert reasons == {100: reason}


@pytest.mark.parametrize("field", ["question", "option", "answer"])
def test_a_field_that_is_not_there(field: str) -> None:
    whole = {"question": Q, "option": {"A": "1g", "B": "2g"}, "answer": "A"}
    del whole[field]
    assert read(DICT, whole)[1] == {100: "missing_field"}
    assert read(DICT, "x", [1])[1] == {100: "missing_field", 101: "missing_field"}


labels = st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=5, unique=True)


@settings(max_examples=200)
@given(labels, st.sampled_from(["", ",", "、", " ", "，", "; "]), st.booleans())
def test_labels_are_read_in_whatever_way_they_are_written(
    right: list[str], between: str, lower: bool
) -> None:
    options = [Option(label, f"text {label}") for label in "ABCDE"]
    written = between.join(right)
    assert answer_labels(written.lower() if lower else written, options, "label") == right
    assert answer_labels(f"（{written}）", options, "label") == right
    assert answer_labels(right, options, "label") == right
    for first in (0, 1):
        numbers = ["ABCDE".index(label) + first for label in right]
        assert answer_labels(numbers, options, f"index_from_{first}") == right
        assert answer_labels(f"{numbers[0]}.0", options, f"index_from_{first}") == right[:1]
    assert answer_labels([f" TEXT  {label}" for label in right], options, "text") == right


def test_labels_of_more_than_a_letter() -> None:
    options = [Option("10", "a"), Option("1", "b"), Option("A1", "c")]
    assert answer_labels("10", options, "label") == ["10"]
    assert answer_labels("10, A1", options, "label") == ["10", "A1"]


def test_a_label_is_taken_off_only_where_all_options_have_theirs() -> None:
    options = [Option("A", "A. 1g"), Option("B", "B族维生素")]
    assert without_labels(options) == options
    options = [Option("A", "A. 1g"), Option("B", ""), Option("C", "C：3g")]
    assert [option.text for option in without_labels(options)] == ["1g", "", "3g"]


@pytest.mark.parametrize(
    ("file", "layout", "rows", "reasons"),
    [
        (
            "medmcqa/dev.json",
            MultipleChoiceLayout(
                options=("opa", "opb", "opc", "opd"),
                answer="cop",
                answer_is="index_from_1",
                explanation="exp",
                subject="subject_name",
            ),
            1287,
            set(),
        ),
        (
            "medqa/questions/US/4_options/phrases_no_exclude_test.jsonl",
            MultipleChoiceLayout(answer="answer_idx"),
            486,
            set(),
        ),
        ("pubmedqa/ori_pqal.json", YES_NO, 428, set()),
        ("cmb/CMB-test-choice-answer.json", DICT, 0, {"missing_field"}),
        ("pubmedqa/test_ground_truth.json", YES_NO, 0, {"missing_field"}),
    ],
)
def test_published_questions(file: str, layout: MultipleChoiceLayout, rows: int, reasons: set[str]) -> None:
    kept, found = 0, set()
    file_format = FileFormat.JSON_OBJECT if file.startswith("pubmedqa") else FileFormat.AUTO
    for batch in read_rows(shared_data(file), file_format=file_format):
        exam, why = read(layout, *batch.values, kind=Kind.EXAM_ITEM, language=Language.EN)
        talk, _ = read(layout, *batch.values, kind=Kind.CONVERSATION, language=Language.EN)
        assert exam["row"].equals(talk["row"])
        for item, (asked, said) in zip(exam.to_dicts(), talks(talk), strict=True):
            assert len(item["options"]) > 1
            right = [option for option in item["options"] if option["label"] in item["answers"]]
            assert right
            assert asked[1].startswith(item["question"])
            assert said[1].startswith(f"{right[0]['label']}. {right[0]['text']}")
        kept += exam.height
        found |= set(why.values())
    assert kept == rows
    assert found == reasons


def test_both_ways_to_name_the_answer_agree() -> None:
    path = shared_data("medqa/questions/US/4_options/phrases_no_exclude_test.jsonl")
    for batch in read_rows(path):
        by_label, _ = read(MultipleChoiceLayout(answer="answer_idx"), *batch.values)
        by_text, _ = read(MultipleChoiceLayout(answer_is="text"), *batch.values)
        assert by_label.equals(by_text)


@pytest.mark.parametrize(
    ("texts", "bare"),
    [
        (["1.5mg", "2.5mg", "3.5mg"], ["1.5mg", "2.5mg", "3.5mg"]),
        (["1:1000", "2：1000", "3．0g"], ["1:1000", "2：1000", "3．0g"]),
        (["1. 5mg", "2. 10mg", "3. 15mg"], ["5mg", "10mg", "15mg"]),
        (["1、5mg", "2)10mg", "(3)15mg"], ["5mg", "10mg", "15mg"]),
        (["1.甲", "2：乙", "3.丙"], ["甲", "乙", "丙"]),
    ],
)
@pytest.mark.parametrize("shape", ["object", "objects"])
def test_a_number_is_not_cut_at_its_label(texts: list[str], bare: list[str], shape: str) -> None:
    labelled = {str(number): text for number, text in enumerate(texts, start=1)}
    options: Any = labelled
    if shape == "objects":
        options = [{"key": key, "value": text} for key, text in labelled.items()]
    row = {"question": Q, "option": options, "answer": "2"}
    frame, reasons = read(MultipleChoiceLayout(options="option"), row)
    assert reasons == {}
    assert [option["text"] for option in frame["options"].item()] == bare
    fields = MultipleChoiceLayout(options=("1", "2", "3"))
    frame, reasons = read(fields, {"question": Q, **labelled, "answer": "2"})
    assert [option["text"] for option in frame["options"].item()] == bare


def test_a_letter_before_a_number_is_a_label() -> None:
    options = [Option("A", "A.5mg"), Option("B", "B：1:1000")]
    assert [option.text for option in without_labels(options)] == ["5mg", "1:1000"]
