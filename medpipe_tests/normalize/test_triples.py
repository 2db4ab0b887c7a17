"""Statements of a knowledge graph as sentences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medpipe.catalog.layouts import TriplesLayout
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import read

HEAD_TAIL = TriplesLayout(subject="head", predicate="relation", object="tail")
LISTS = TriplesLayout(subject="0", predicate="1", object="2")


@pytest.mark.parametrize(
    ("layout", "row", "language", "text"),
    [
        (
            TriplesLayout(),
            {"subject": "高血压", "predicate": "临床表现", "object": "头痛"},
            Language.ZH,
            "高血压的临床表现是头痛。",
        ),
        (
            LISTS,
            ["甲片", "用法用量", ["口服", " 0.5~1.0g。", None]],
            Language.ZH,
            "甲片的用法用量是口服、0.5~1.0g。",
        ),
        (LISTS, ["甲病", "导致", "乙病"], Language.ZH, "甲病导致乙病。"),
        (LISTS, ["甲片", "用于治疗", ["乙病", "丙病"]], Language.ZH, "甲片用于治疗乙病、丙病。"),
        (LISTS, ["甲片", "可能导致了", "乙病"], Language.ZH, "甲片可能导致了乙病。"),
        (LISTS, ["甲病", "可治疗", "甲片"], Language.ZH, "甲病可治疗甲片。"),
        (LISTS, ["甲病", "不能引起", "乙病"], Language.ZH, "甲病不能引起乙病。"),
        (LISTS, ["甲病", "有", "乙症"], Language.ZH, "甲病有乙症。"),
        *(
            (LISTS, ["甲片", noun, "头痛"], Language.ZH, f"甲片的{noun}是头痛。")
            for noun in ("不良反应", "有效期", "有害成分", "可能病因", "应用", "应激反应", "会诊科室", "能量")
        ),
        *(
            (LISTS, ["甲片", noun, "头痛"], Language.ZH, f"甲片的{noun}是头痛。")
            for noun in ("并发症", "治疗", "用于人群", "为害程度", "需检查项目", "未病先防", "影响因素")
        ),
        (LISTS, ["血糖", "正常值", "<br/>≥3.9mmol/L"], Language.ZH, "血糖的正常值是≥3.9mmol/L。"),
        (
            HEAD_TAIL,
            {"head": "Gout", "relation": "symptom", "tail": ["pain", "swelling"], "id": 3},
            Language.EN,
            "Gout symptom: pain, swelling.",
        ),
        (
            HEAD_TAIL,
            {"head": "Aspirin", "relation": "may_treat", "tail": "pain"},
            Language.EN,
            "Aspirin may treat pain.",
        ),
        (
            HEAD_TAIL,
            {"head": "Joint", "relation": "part_of", "tail": "limb"},
            Language.EN,
            "Joint part of limb.",
        ),
        (HEAD_TAIL, {"head": "Dose", "relation": "maximum", "tail": 0.5}, Language.EN, "Dose maximum: 0.5."),
    ],
)
def test_golden(layout: TriplesLayout, row: Any, language: Language, text: str) -> None:
    frame, reasons = read(layout, row, language=language)
    assert frame["text"].to_list() == [text]
    assert reasons == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["高血压", "临床表现"], "missing_field"),
        ("高血压", "missing_field"),
        (["高血压", "临床表现", None], "empty_text"),
        (["高血压", "临床表现", ["", "nan"]], "empty_text"),
        (["高血压", "\u200b", "头痛"], "empty_text"),
        (["", "临床表现", "头痛"], "empty_text"),
        (["高血压", "临床表现", {"name": "头痛"}], "unexpected_type"),
        (["高血压", True, "头痛"], "unexpected_type"),
    ],
)
def test_rows_that_state_nothing(row: Any, reason: str) -> None:
    frame, reasons = read(LISTS, ["甲病", "科室", "内科"], row)
    assert frame["text"].to_list() == ["甲病的科室是内科。"]
    assert reasons == {101: reason}


things = st.sampled_from(["高血压", "≥7.0mmol/L", "0.5~1.0g", "10×10⁹/L", "½片", "Ⅱ型糖尿病", "5μg", "<0.15"])


@settings(max_examples=60)
@given(things, things, st.lists(things, min_size=1, max_size=3), st.sampled_from([Language.ZH, Language.EN]))
def test_every_part_is_in_the_sentence_as_published(
    subject: str, predicate: str, objects: list[str], language: Language
) -> None:
    frame, _ = read(LISTS, [subject, predicate, objects], language=language)
    text, position = frame["text"].item(), 0
    for part in (subject, predicate, *objects):
        position = text.index(part, position) + len(part)
