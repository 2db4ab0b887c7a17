"""Annotated records as instructions with their answers."""

from __future__ import annotations

from typing import Any

import pytest

from medpipe.catalog.layouts import Task, TaskLayout
from medpipe.catalog.source import FileFormat
from medpipe.ingest.readers import read_rows
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import read, spoken, talks
from medpipe_tests.shared_data import shared_data

TEXT = "咳嗽三天，体温≥38.5℃，服甲片0.5~1.0g。"
CLASS = TaskLayout(task=Task.CLASSIFICATION, instruction="归类：")
ENTITIES = TaskLayout(task=Task.ENTITIES, labels="entities", instruction="找实体：")
RELATIONS = TaskLayout(task=Task.RELATIONS, labels="spo_list", instruction="找关系：")
OUTSIDE = ("unexpected_type",)
NAMED = {"label_names": {"0": "病情", "dis": "疾病", "sym": "症状"}}


def tags(first: str, count: int) -> str:
    """So many BIO tags, `O` behind the first ones."""
    given = first.split()
    return " ".join([*given, *["O"] * (count - len(given))])


GOLDEN: dict[str, tuple[TaskLayout, Any, str]] = {
    "a label": (CLASS, {"text": TEXT, "label": "病情 "}, "病情"),
    "a number with a name": (CLASS.model_copy(update=NAMED), {"text": TEXT, "label": 0}, "病情"),
    "a number without a name": (CLASS.model_copy(update=NAMED), {"text": TEXT, "label": 7}, "7"),
    "several labels": (
        CLASS.model_copy(update=NAMED),
        {"text": TEXT, "label": ["0", "用药", "0", ""]},
        "病情、用药",
    ),
    "several labels in a cell": (CLASS, {"text": TEXT, "label": "['病情', '用药']"}, "病情、用药"),
    "pairs": (
        ENTITIES,
        {"text": TEXT, "entities": [["咳嗽", "症状"], ["甲片", "药物"], ["发热", "症状"], ["咳嗽", "症状"]]},
        "症状：咳嗽、发热\n药物：甲片",
    ),
    "objects with places": (
        ENTITIES.model_copy(update=NAMED | {"entity_type": "kind"}),
        {
            "text": TEXT,
            "entities": [{"start_idx": 0, "entity": "咳嗽", "kind": "sym"}, {"entity": "", "kind": "dis"}],
        },
        "症状：咳嗽",
    ),
    "mentions by type": (
        ENTITIES,
        {"text": TEXT, "entities": {"症状": ["咳嗽", "发热"], "疾病": []}},
        "症状：咳嗽、发热",
    ),
    "mentions alone": (ENTITIES, {"text": TEXT, "entities": ["咳嗽", "甲片"]}, "咳嗽、甲片"),
    "no entity": (ENTITIES, {"text": TEXT, "entities": []}, "无"),
    "entities in a cell": (ENTITIES, {"text": TEXT, "entities": "[['咳嗽', '症状']]"}, "症状：咳嗽"),
    "triples": (
        RELATIONS,
        {
            "text": TEXT,
            "spo_list": [["甲病", "症状", "咳嗽"], ["甲病", "剂量", 0.5], ["甲病", "症状", "咳嗽"]],
        },
        "（甲病，症状，咳嗽）\n（甲病，剂量，0.5）",
    ),
    "objects with members of members": (
        RELATIONS.model_copy(update=NAMED | {"predicate": "p"}),
        {
            "text": TEXT,
            "spo_list": [{"subject": "甲病", "p": "sym", "object": {"@value": "咳嗽"}, "object_type": {}}],
        },
        "（甲病，症状，咳嗽）",
    ),
    "no relation": (RELATIONS, {"text": TEXT, "spo_list": []}, "无"),
    "members beside the value": (
        RELATIONS.model_copy(update={"label_names": {"place": "部位"}}),
        {
            "text": TEXT,
            "spo_list": [
                {
                    "subject": "甲病",
                    "predicate": "症状",
                    "object": {"@value": "咳嗽", "place": "肺", "days": 3, "x": ""},
                },
                ["甲病", "", "咳嗽"],
            ],
        },
        "（甲病，症状，咳嗽，部位：肺，days：3）",
    ),
    "spans": (
        ENTITIES.model_copy(update=NAMED),
        {
            "text": TEXT,
            "entities": [
                {"start_idx": 0, "end_idx": 1, "type": "sym"},
                {"start_idx": 5, "end_idx": 12, "type": "sym", "entity": None},
                {"start_idx": len(TEXT) - 1, "end_idx": len(TEXT) - 1, "type": "mark"},
            ],
        },
        "症状：咳嗽、体温≥38.5℃\nmark：。",
    ),
    "tags": (
        ENTITIES.model_copy(update={"label_names": {"Symptom": "症状"}}),
        {"text": TEXT, "entities": tags("B-Symptom I-Symptom B-Time I-Time", len(TEXT))},
        "症状：咳嗽\nTime：三天",
    ),
    "tags, one after the other": (
        ENTITIES,
        {"text": TEXT, "entities": tags("B-s B-s I-t I-t I-s", len(TEXT)).split()},
        "s：咳、嗽、，\nt：三天",
    ),
    "tags without an entity": (ENTITIES, {"text": TEXT, "entities": tags("O", len(TEXT))}, "无"),
    "mentions that look like tags": (ENTITIES, {"text": TEXT, "entities": ["B-12", "B-6"]}, "B-12、B-6"),
    "no mention of any type": (ENTITIES, {"text": TEXT, "entities": {"症状": []}}, "无"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    layout, row, answer = GOLDEN[name]
    frame, reasons = read(layout, row)
    assert reasons == {}
    assert talks(frame) == [spoken(f"{layout.instruction}\n{TEXT}", answer)]


def test_several_fields_of_text() -> None:
    layout = TaskLayout(task=Task.CLASSIFICATION, text=("title", "body"), labels="cls", instruction="归类：")
    frame, _ = read(layout, {"title": "题<br>", "body": "文", "cls": "甲"}, {"body": "文", "cls": "乙"})
    assert talks(frame) == [spoken("归类：\n题\n文", "甲"), spoken("归类：\n文", "乙")]


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("language", [Language.ZH, Language.EN, Language.OTHER])
def test_default_instructions_name_the_labels_only_if_they_are_given(task: Task, language: Language) -> None:
    row = {"text": "x", "label": "0" if task is Task.CLASSIFICATION else []}
    asked = []
    for names in ({}, {"0": "病情", "1": "用药", "2": "病情"}):
        layout = TaskLayout(task=task, label_names=names)
        frame, _ = read(layout, row, language=language)
        ((question, answer),) = talks(frame)
        asked.append(question[1].removesuffix("\nx"))
        if task is not Task.CLASSIFICATION:
            assert answer[1] == ("无" if language is Language.ZH else "none")
            assert f"“{answer[1]}”" in asked[-1] or f"'{answer[1]}'" in asked[-1]
    plain, named = asked
    assert "病情" not in plain
    assert ("病情、用药" if language is Language.ZH else "病情, 用药") in named
    assert ("请" in plain) == (language is Language.ZH)
    assert "{" not in plain + named


def test_english_answers() -> None:
    frame, _ = read(
        TaskLayout(task=Task.ENTITIES),
        {"text": "x", "label": [["cough", "symptom"], ["fever", "symptom"]]},
        language=Language.EN,
    )
    assert talks(frame)[0][1][1] == "symptom: cough, fever"
    frame, _ = read(
        TaskLayout(task=Task.RELATIONS),
        {"text": "x", "label": [["gout", "symptom", "pain"]]},
        language=Language.EN,
    )
    assert talks(frame)[0][1][1] == "(gout, symptom, pain)"


@pytest.mark.parametrize(
    ("layout", "row", "reason"),
    [
        (CLASS, {"text": TEXT}, "missing_field"),
        (CLASS, {"label": "x"}, "missing_field"),
        (CLASS, "x", "missing_field"),
        (CLASS, {"text": " ", "label": "x"}, "empty_question"),
        (CLASS, {"text": TEXT, "label": ""}, "empty_answer"),
        (CLASS, {"text": TEXT, "label": None}, "empty_answer"),
        (CLASS, {"text": TEXT, "label": []}, "empty_answer"),
        (CLASS, {"text": TEXT, "label": {"a": 1}}, "unexpected_type"),
        (CLASS, {"text": {"a": 1}, "label": "x"}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": None}, "empty_answer"),
        (ENTITIES, {"text": TEXT, "entities": ""}, "empty_answer"),
        (ENTITIES, {"text": TEXT, "entities": "咳嗽"}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": [["咳嗽"]]}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": [{"entity": "咳嗽"}]}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": [5]}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": [["", "症状"]]}, "empty_answer"),
        (ENTITIES, {"text": TEXT, "entities": [None, "x"]}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": {"症状": [""]}}, "empty_answer"),
        (ENTITIES, {"text": TEXT, "entities": [{"start_idx": 0, "end_idx": 99, "type": "s"}]}, *OUTSIDE),
        (ENTITIES, {"text": TEXT, "entities": [{"start_idx": -1, "end_idx": 1, "type": "s"}]}, *OUTSIDE),
        (ENTITIES, {"text": TEXT, "entities": [{"start_idx": 2, "end_idx": 1, "type": "s"}]}, *OUTSIDE),
        (ENTITIES, {"text": TEXT, "entities": [{"start_idx": "0", "end_idx": 1, "type": "s"}]}, *OUTSIDE),
        (ENTITIES, {"text": TEXT, "entities": [{"start_idx": 0, "end_idx": 1}]}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": [{"start_idx": 0, "type": "s"}]}, "unexpected_type"),
        (ENTITIES, {"text": [TEXT], "entities": [{"start_idx": 0, "end_idx": 0, "type": "s"}]}, *OUTSIDE),
        (ENTITIES, {"text": TEXT, "entities": "O B-Symptom I-Symptom"}, "unexpected_type"),
        (ENTITIES, {"text": TEXT, "entities": tags("B-s X-s", len(TEXT))}, "unexpected_type"),
        (RELATIONS, {"text": TEXT, "spo_list": [["甲病", "", ""]]}, "empty_answer"),
        (RELATIONS, {"text": TEXT, "spo_list": [["甲病", "症状", {"@value": "", "x": "y"}]]}, "empty_answer"),
        (RELATIONS, {"text": TEXT, "spo_list": [["甲病", "症状", {"x": "y"}]]}, "unexpected_type"),
        (RELATIONS, {"text": TEXT, "spo_list": None}, "empty_answer"),
        (RELATIONS, {"text": TEXT, "spo_list": [["甲病", "症状"]]}, "unexpected_type"),
        (RELATIONS, {"text": TEXT, "spo_list": [{"subject": "甲病", "object": "x"}]}, "unexpected_type"),
        (RELATIONS, {"text": TEXT, "spo_list": {"甲病": "x"}}, "unexpected_type"),
    ],
)
def test_rows_that_are_no_example(layout: TaskLayout, row: Any, reason: str) -> None:
    frame, reasons = read(layout, row)
    assert frame.height == 0
    assert reasons == {100: reason}


@pytest.mark.parametrize(
    ("file", "layout", "options", "rows", "answer"),
    [
        (
            "cmekg/train_example.json",
            TaskLayout(task=Task.RELATIONS, labels="spo_list"),
            {},
            24,
            r"(?s)（.+，.+，.+）",
        ),
        (
            "imcs21/DAC/dev.txt",
            CLASS,
            {"file_format": FileFormat.TSV, "columns": ("text", "label")},
            9000,
            r"\d+",
        ),
        (
            "thucnews/dev.txt",
            TaskLayout(
                task=Task.CLASSIFICATION, label_names={str(i): "甲乙丙丁戊己庚辛壬癸"[i] for i in range(10)}
            ),
            {"file_format": FileFormat.TSV, "columns": ("text", "label")},
            10000,
            r"[甲乙丙丁戊己庚辛壬癸]",
        ),
        ("huatuogpt/KUAKE-QIC_100.json", CLASS.model_copy(update={"text": ("query",)}), {}, 58, r"\w+"),
    ],
)
def test_published_annotations(
    file: str, layout: TaskLayout, options: dict[str, Any], rows: int, answer: str
) -> None:
    kept = 0
    for batch in read_rows(shared_data(file), **options):
        frame, reasons = read(layout, *batch.values)
        assert batch.broken == []
        assert reasons == {}
        kept += frame.height
        answers = frame["turns"].list.last().struct.field("content")
        assert answers.str.contains(f"^(?:{answer})$").all()
    assert kept == rows
