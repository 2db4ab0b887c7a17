"""Consultations written down as lines."""

from __future__ import annotations

from typing import Any

import pytest

from medpipe.catalog.layouts import TranscriptLayout
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import Talk, read, spoken, talks

CHINESE = """id=12
https://example.org/flow/12.htm

Doctor faculty
某某医院  呼吸科

Description
疾病：
咳嗽
病情描述（发病时间、主要症状等）：
咳嗽三天，体温 37.8℃。
曾经治疗情况和效果：

想得到怎样的帮助：
要吃药吗？
过敏史：


Dialogue
医生：
有痰吗？
医生：
抽烟吗？
病人：
有一点黄痰。
不抽烟。

病人：
要拍片吗？
医生：
患者：男，30岁。先查血常规。
建议：多喝水。

"""
ENGLISH = (
    "id=3\nhttps://example.org/q/3\n\nDescription\nIs a cough at night serious?\n\nDialogue\nPatient:\n"
    "I cough at night for 2 weeks.\nDoctor:\nHello,\r See a doctor if it lasts\xa03 weeks.\r\rRegards\n \n\n"
)
ACCOUNT = (
    "疾病：\n咳嗽\n病情描述（发病时间、主要症状等）：\n咳嗽三天，体温 37.8℃。\n想得到怎样的帮助：\n要吃药吗？"
)

GOLDEN: dict[str, tuple[TranscriptLayout, Any, Talk]] = {
    "Chinese": (
        TranscriptLayout(),
        CHINESE,
        spoken(
            ACCOUNT, "有痰吗？\n抽烟吗？", "有一点黄痰。\n不抽烟。\n要拍片吗？",
            "患者：男，30岁。先查血常规。\n建议：多喝水。",
        ),
    ),
    "English, with lone carriage returns": (
        TranscriptLayout(),
        ENGLISH,
        spoken(
            "Is a cough at night serious?\nI cough at night for 2 weeks.",
            "Hello,\n See a doctor if it lasts 3 weeks.\n\nRegards",
        ),
    ),
    "an account that the patient repeats": (
        TranscriptLayout(),
        "Description\nIs it flu?\n\nDialogue\nPatient:\nIs it flu? I have fever.\nDoctor:\nPerhaps.",
        spoken("Is it flu? I have fever.", "Perhaps."),
    ),
    "names before their words, without headings": (
        TranscriptLayout(),
        "编号 7\n患者：头痛三天\n医生: 有没有发热？\n病人 ：没有\n医生：休息。",
        spoken("头痛三天", "有没有发热？", "没有", "休息。"),
    ),
    "names without colons": (
        TranscriptLayout(),
        "Dialogue\nPatient\nI cough.\nDoctor\nSince when?",
        spoken("I cough.", "Since when?"),
    ),
    "one side within lines, the other on lines of its own": (
        TranscriptLayout(),
        "Dialogue\n病人：\n头痛\n患者：是我妈妈\n医生：多大年纪？\n病人：\n60岁\n医生：来医院查。",
        spoken("头痛\n患者：是我妈妈", "多大年纪？", "60岁", "来医院查。"),
    ),
    "a written conclusion after the dialogue and before more of it": (
        TranscriptLayout(),
        "Description\n咳嗽\n\nDialogue\n医生：\n有痰吗？\n病人：\n没有\n\nDiagnosis and suggestions\n"
        "疾病诊断： 咽炎\n药品：\n\nDialogue\n病人：\n谢谢\n\nDiagnosis and suggestions可以复查",
        spoken("咳嗽", "有痰吗？", "没有", "疾病诊断： 咽炎", "谢谢", "可以复查"),
    ),
    "a conclusion without a dialogue": (
        TranscriptLayout(),
        "Description\n咳嗽\n\nDiagnosis and suggestions\n疾病诊断： 咽炎",
        spoken("咳嗽", "疾病诊断： 咽炎"),
    ),
    "a second account": (
        TranscriptLayout(),
        "Description\n咳嗽\n\nDialogue\n医生：\n多喝水\n\n"
        "Description\n还咳\n\nDialogue\n预约医生： 某某\n医生：\n复查",
        spoken("咳嗽", "多喝水", "还咳", "复查"),
    ),
    "sections twice": (
        TranscriptLayout(),
        "Description\n咳嗽\n\nDialogue\n医生：\n多喝水\n\nDescription\n咳嗽\n\nDialogue\n医生：\n多喝水",
        spoken("咳嗽", "多喝水"),
    ),
    "a dialogue without its heading": (
        TranscriptLayout(),
        "Description\n咳嗽\n病人：第一次来\n医生：\n多喝水",
        spoken("咳嗽\n病人：第一次来", "多喝水"),
    ),
    "other headings and names, in an object": (
        TranscriptLayout(
            text="log", user="家属", assistant=("主任", "值班"), account="主诉", dialogue="对话"
        ),
        {"id": 5, "log": "主诉：咳嗽\n三天\n对话\n家属：要紧吗？\n值班：请稍等。\n主任：不要紧。"},
        spoken("咳嗽\n三天\n要紧吗？", "请稍等。\n不要紧。"),
    ),
    "a list of lines in an object": (
        TranscriptLayout(),
        {"text": ["病人：头痛", "医生：休息。"]},
        spoken("头痛", "休息。"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    layout, row, expected = GOLDEN[name]
    frame, reasons = read(layout, row, language=Language.ZH)
    assert reasons == {}
    assert talks(frame) == [expected]


def test_line_ends_do_not_matter() -> None:
    layout = TranscriptLayout()
    frame, _ = read(layout, CHINESE, CHINESE.replace("\n", "\r\n"), CHINESE.replace("\n", "\r"))
    first, *others = talks(frame)
    assert others == [first, first]


def test_labels_keep_their_values() -> None:
    text = (
        "Description\n用药情况：\n饭前：一片\n3月2日：两片\n过敏史： 无\n既往病史：\n\nDialogue\n医生：\n好"
    )
    frame, _ = read(TranscriptLayout(), text)
    assert talks(frame)[0][0][1] == "饭前：一片\n3月2日：两片\n过敏史： 无"


def test_rejections() -> None:
    rows: list[tuple[Any, str]] = [
        ("Description\n咳嗽\n", "no_answer"),
        ("id=1\nhttps://example.org\n\nDescription\n咳嗽\n\nDialogue\n病人：\n有资料上传", "no_answer"),
        ("Dialogue\n医生：\n您好", "no_question"),
        ("id=1\nhttps://example.org\n", "no_question"),
        ("Dialogue\n病人：\n\n医生：\n您好", "no_question"),
        ("Description\n过敏史：\n\nDialogue\n医生：\n您好", "no_question"),
        (" \n", "empty_text"),
        ({"text": None}, "empty_text"),
        ({"txt": "病人：头痛\n医生：休息"}, "missing_field"),
        ({"text": {"a": 1}}, "unexpected_type"),
        (5, "missing_field"),
    ]
    _, reasons = read(TranscriptLayout(), *[row for row, _ in rows])
    assert list(reasons.values()) == [reason for _, reason in rows]
