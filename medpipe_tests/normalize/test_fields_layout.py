"""Records of many fields: which of them are used, in which order, and what becomes of the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.layouts import FieldsLayout
from medpipe.catalog.source import FileFormat
from medpipe.ingest.readers import read_rows
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import read
from medpipe_tests.shared_data import shared_data

NESTED = FieldsLayout(expand=("overview_info", "symptom_data", "food_info"))
DISEASE = {
    "overview_info": {
        "name": "甲病",
        "medical_insurance": "否",
        "has_complication": ["乙病"],
        "unknown": "x",
    },
    "cause_info": "着凉。",
    "symptom_data": {
        "symptoms": ["发热", "咳嗽"],
        "symptom_detail": ["早期", "低热37.5℃。", "晚期", "高热。"],
    },
    "food_info": {"good_food": ["梨"], "avoid_food": [], "good_diet_text": "宜清淡。"},
    "nursing_info": "多休息。",
}


def texts(layout: FieldsLayout, *rows: Any, language: Language = Language.ZH) -> list[str]:
    frame, reasons = read(layout, *rows, language=language)
    assert reasons == {}
    return frame["text"].to_list()


def test_objects_whose_members_are_fields_of_the_record() -> None:
    assert texts(NESTED, DISEASE) == [
        "名称：甲病。病因：着凉。症状：发热,咳嗽。症状说明：早期\n低热37.5℃。\n晚期\n高热。并发症：乙病。"
        "医保：否。护理：多休息。饮食建议：宜清淡。宜食：梨"
    ]


def test_an_object_that_a_cell_holds_as_text() -> None:
    layout = FieldsLayout(expand=("info",))
    row = {"info": "{'name': '甲病', 'symptom': ['发热'], 'cost_money': 0.50}"}
    assert texts(layout, row) == ["名称：甲病。症状：发热。治疗费用：0.50"]


def test_an_object_that_is_not_expanded_is_labelled_parts() -> None:
    row = {"name": "甲病", "check": {"CT": "5天", "其他": ["血常规", "尿常规"], "cure_way": "手术"}}
    assert texts(FieldsLayout(), row) == ["名称：甲病。检查：CT：5天；其他：血常规,尿常规；治疗方式：手术"]
    assert texts(FieldsLayout(expand="check"), row) == ["名称：甲病。治疗方式：手术"]


def test_chosen_fields_and_own_labels() -> None:
    row = {"药名": "甲片", "适应症": ["感冒"], "备注": "无糖", "批号": "国药1号", "规格": "0.1g"}
    layout = FieldsLayout(fields=("规格", "药名"), labels={"药名": "药品", "适应症": "主治", "备注": "备注"})
    assert texts(layout, row) == ["规格：0.1g。药品：甲片。主治：感冒。备注：无糖"]
    assert texts(FieldsLayout(labels={"批号": "批准文号"}), row) == [
        "规格：0.1g。适应症：感冒。批准文号：国药1号"
    ]
    assert texts(FieldsLayout(fields=("批号",)), row) == ["批号：国药1号"]


def test_english_table_with_lists_in_its_cells() -> None:
    row = {
        "idx": "1",
        "disease": "Gout",
        "Symptom": "['Joint pain', 'Patient\\'s toe swells']",
        "reason": " uric acid, ",
        "TestsAndProcedures": "[]",
        "commonMedications": '["Colchicine (Colcrys)"]',
    }
    assert texts(FieldsLayout(), row, language=Language.EN) == [
        "Name: Gout. Cause: uric acid. Symptoms: Joint pain, Patient's toe swells. "
        "Common drugs: Colchicine (Colcrys)"
    ]


@pytest.mark.parametrize("empty", ["None", "", None, [], ["", None], {"a": "nan"}, float("nan"), "['nan']"])
def test_a_spelling_that_says_nothing_leaves_the_field_to_the_other(empty: Any) -> None:
    for row in ({"symptom": empty, "sympton": "发热"}, {"sympton": "发热", "symptom": empty}):
        assert texts(FieldsLayout(), row) == ["症状：发热"]


def test_two_spellings_that_say_different_things_are_both_kept() -> None:
    rows = [
        {"symptom": "发热", "sympton": "咳嗽", "临床表现": ["发热"]},
        {"symptom": ["头痛"], "sympton": "头痛。"},
        {"symptom": "头晕"},
    ]
    assert texts(FieldsLayout(), *rows) == ["症状：发热。症状：咳嗽", "症状：头痛", "症状：头晕"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("甲病", "no_known_field"),
        (["甲病"], "no_known_field"),
        (None, "no_known_field"),
        ({}, "no_known_field"),
        ({"_id": {"$oid": "2"}, "note": "x"}, "no_known_field"),
        ({"name": "", "desc": None, "symptom": [], "cause": "None"}, "empty_text"),
    ],
)
def test_rows_that_give_no_text(row: Any, reason: str) -> None:
    frame, reasons = read(FieldsLayout(), {"name": "甲病"}, row, {"name": "乙病"})
    assert frame["text"].to_list() == ["名称：甲病", "名称：乙病"]
    assert reasons == {101: reason}


def test_a_value_nested_too_deep_costs_its_row_alone() -> None:
    deep: Any = "芯"
    for _ in range(900):
        deep = [deep]
    frame, reasons = read(FieldsLayout(), {"name": "甲病"}, {"name": "乙病", "check": deep}, {"check": "CT"})
    assert frame["text"].to_list() == ["名称：甲病", "检查：CT"]
    assert reasons == {101: "unexpected_type"}


rows = st.dictionaries(
    st.sampled_from(["name", "disease", "symptom", "sympton", "info", "check", "备注"]),
    st.one_of(
        st.text(alphabet="病1.5mg ，", max_size=6),
        st.lists(st.text(alphabet="病5", max_size=3), max_size=3),
        st.dictionaries(st.sampled_from(["name", "cause", "用量"]), st.text(alphabet="病2", max_size=3)),
        st.none(),
    ),
)


@settings(max_examples=50)
@given(st.lists(rows, max_size=4))
def test_a_row_renders_alone_as_it_does_among_others(batch: list[dict[str, Any]]) -> None:
    layout = FieldsLayout(expand=("info",), labels={"备注": "备注"})
    together, reasons = read(layout, *batch)
    alone = [read(layout, row) for row in batch]
    assert together["text"].to_list() == [text for frame, _ in alone for text in frame["text"]]
    assert list(reasons.values()) == [reason for _, each in alone for reason in each.values()]


def published(file: str, layout: FieldsLayout, language: Language, file_format: FileFormat) -> list[str]:
    found = []
    for batch in read_rows(shared_data(file), file_format=file_format):
        assert batch.broken == []
        found += texts(layout, *batch.values, language=language)
    return found


@pytest.mark.parametrize(
    ("file", "layout", "language", "rows", "labels"),
    [
        (
            "medicalkgqa/medical_15.json",
            FieldsLayout(expand=("gaishu_info", "symptom_data", "food_info")),
            Language.ZH,
            500,
            (
                "描述",
                "预防",
                "病因",
                "症状",
                "症状说明",
                "就诊科室",
                "治疗周期",
                "护理",
                "饮食建议",
                "宜食",
                "忌食",
            ),
        ),
        (
            "nlp-guild_medical-data/medical.json",
            FieldsLayout(),
            Language.ZH,
            212,
            ("描述", "宜食", "药品明细"),
        ),
        ("nlp-guild_medical-data/heart_array_v2.json", FieldsLayout(), Language.ZH, 16, ("症状", "并发症")),
        (
            "nlp-guild_medical-data/heart_lines_dup.json",
            FieldsLayout(),
            Language.ZH,
            32,
            ("病因", "推荐食谱"),
        ),
        (
            "chatdoctor/format_dataset.csv",
            FieldsLayout(),
            Language.EN,
            514,
            ("Name", "Symptoms", "Cause", "Examinations", "Common drugs"),
        ),
        (
            "diseases-symptoms/Diseases_Symptoms.csv",
            FieldsLayout(),
            Language.EN,
            258,
            ("Symptoms", "Treatment"),
        ),
        (
            "qizhengpt/药品适应症评测数据集.csv",
            FieldsLayout(),
            Language.ZH,
            56,
            ("名称", "适应症", "适应病症"),
        ),
    ],
)
def test_published_records(
    file: str, layout: FieldsLayout, language: Language, rows: int, labels: tuple[str, ...]
) -> None:
    found = published(file, layout, language, FileFormat.AUTO)
    assert len(found) == rows
    zh = language is Language.ZH
    colon = "：" if zh else ": "
    assert all(text.startswith(("名称" if zh else "Name") + colon) for text in found)
    for label in labels:
        assert sum(label + colon in text for text in found) > rows / 5, label
    for text in found:
        assert not any(
            artefact in text for artefact in ("['", "']", "[]", "{}", "$oid", "<p>", "\u3000", "\r")
        )
        assert not any(
            f"{label}{colon}{word}" in text for label in labels for word in ("None", "nan", "null")
        )
