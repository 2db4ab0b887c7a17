"""Published conversations and preferences as they really are: which rows are kept, and what is in them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest

from medpipe.catalog.layouts import (
    Layout,
    MultipleChoiceLayout,
    PreferenceLayout,
    QuestionAnswerLayout,
    TranscriptLayout,
    TurnsLayout,
)
from medpipe.catalog.source import FileFormat
from medpipe.ingest.readers import read_rows
from medpipe.records.kinds import Language
from medpipe_tests.normalize.reading import Talk, read, talks
from medpipe_tests.shared_data import shared_data

QA, Turns, Preference = QuestionAnswerLayout, TurnsLayout, PreferenceLayout
ALPACA = QA(question=("instruction", "input"), answer="output")
MEDDIALOG: dict[str, Any] = {"file_format": FileFormat.TEXT_RECORDS, "record_start": r"^id=\d+"}
LINES: dict[str, Any] = {"file_format": FileFormat.JSONL}


def read_file(path: str, layout: Layout, **options: Any) -> tuple[pl.DataFrame, int, Counter[str]]:
    """Records of a file, the number of rows published, and the reasons of the rejected ones."""
    frames, published, reasons = [], 0, Counter[str]()
    for batch in read_rows(shared_data(path), **options):
        frame, rejected = read(layout, *batch.values, language=Language.ZH)
        assert not batch.broken
        assert frame["row"].n_unique() + len(rejected) == len(batch.rows)
        frames.append(frame)
        published += len(batch.rows)
        reasons.update(rejected.values())
    return pl.concat(frames), published, reasons


CONVERSATIONS: list[tuple[str, Layout, dict[str, Any], int, int]] = [
    ("bentsao/liver_cancer.json",
     Turns(turns="instruction", user="<user>:", assistant="<bot>:", answer="output"), {}, 628, 628),
    ("chatmed/ChatMed-Consult_test.json",
     QA(question="query", answer="response", markers=("<s>", "问：", "答：")), {}, 296, 296),
    ("med-chatglm/train.txt",
     QA(question="context", answer="target", markers=("问题：", "回答：")), LINES, 1731, 1731),
    ("shibing624_medical/rag/medical_corpus.txt", QA(question="问", answer="答"), LINES, 53, 53),
    ("huatuo-26m/huatuo26M_test.json", ALPACA, {}, 1205, 1205),
    ("cmb/CMB-test-qa.json",
     QA(pairs="QA_pairs", context=("title", "description"), answer=("answer", "solution")), {}, 48, 48),
    ("apollo-medbase/Medical_Wiki_zh_sampled.json", QA(question="0", answer="1"), {}, 70, 70),
    ("zhongjing/CMtMedQA_test.json",
     QA(question=("instruction", "instruct", "input"), answer="output", history="history"), {}, 748, 748),
    ("toyhom_chinese-medical-dialogue/样例_内科5000-6000.csv",
     QA(question=("title", "ask"), answer="answer"), {}, 3949, 3949),
    ("shennong-tcm/ShenNong-TCM-LLM - test examples.xls",
     QA(question="问题", answer="ShenNong-TCM-LLM", markers=("问：", "答：")), {}, 201, 201),
    ("caregpt/ChatGPT/output.jsonl", Turns(turns="messages", role="role", content="content"), {}, 100, 100),
    ("disc-med-sft/test_examples.jsonl",
     Turns(turns="conversation", role="role", content="content"), {}, 103, 103),
    ("imcs21/KRDS/dxy_dialog_data_dialog_v2.txt", Turns(turns="dialog", user=(), assistant=()),
     {"file_format": FileFormat.PYTHON_LITERALS}, 423, 423),
    # Nobody answers in the others.
    ("meddialog/qa_zh_1.txt", TranscriptLayout(), MEDDIALOG, 13, 11),
    ("meddialog/qa_en_1.txt", TranscriptLayout(), MEDDIALOG, 20, 20),
    ("meddialog/COVID-Dialogue-Dataset-Chinese.txt", TranscriptLayout(), MEDDIALOG, 451, 420),
    ("meddialog/COVID-Dialogue-Dataset-English.txt", TranscriptLayout(), MEDDIALOG, 356, 356),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "layout", "options", "published", "kept"), CONVERSATIONS, ids=[case[0] for case in CONVERSATIONS]
)
def test_conversations(path: str, layout: Layout, options: dict[str, Any], published: int, kept: int) -> None:
    frame, rows, reasons = read_file(path, layout, **options)
    assert (rows, frame.height) == (published, kept)
    assert reasons == ({"no_answer": published - kept} if published > kept else {})
    for talk in talks(frame):
        check_talk(talk)


def check_talk(talk: Talk) -> None:
    roles = [role for role, _ in talk]
    assert roles[0] == "user"
    assert "assistant" in roles
    for _, content in talk:
        assert not content.startswith(
            ("问：", "问题：", "答：", "回答", "<user>", "id=", "https://www.haodf")
        )
        assert not content.endswith(("答：", "回答:"))
        assert "<bot>:" not in content
        assert "\r" not in content
        for heading in ("Doctor faculty", "Description", "Dialogue", "Diagnosis and suggestions", "病人："):
            assert heading not in content.split("\n")


PREFERENCES: list[tuple[str, PreferenceLayout, int, int, int, dict[str, int]]] = [
    ("shibing624_medical/reward/test.json", Preference(), 60, 60, 0, {}),
    ("shibing624_medical/reward/dpo_zh.jsonl",
     Preference(system="system", history="history"), 97, 97, 18, {}),
    ("shibing624_medical/reward/dpo_zh_500.jsonl",
     Preference(messages=Turns(), chosen="chosen", rejected="rejected"), 323, 323, 60, {}),
    ("llamafactory/dpo_zh_demo.json",
     Preference(messages=Turns(), chosen="chosen", rejected="rejected"), 186, 186, 43, {}),
    ("comparison-gpt4/comparison_gpt4_data_zh.json",
     Preference(prompt=("instruction", "input"), chosen="chosen", rejected="rejected"), 700, 696, 0,
     {"identical_answers": 4}),
    ("llamafactory/oaast_rm_zh.json",
     Preference(prompt=("instruction", "input"), history="history", ranked="output"), 279, 626, 0,
     {"single_answer": 2}),
    ("zhongjing/total_dataset.tsv",
     Preference(prompt="query", history="history", ranked=("rank1", "rank2", "rank3", "rank4")), 1, 6, 0, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "layout", "published", "records", "with_system", "rejected"),
    PREFERENCES,
    ids=[case[0] for case in PREFERENCES],
)
def test_preferences(
    path: str,
    layout: PreferenceLayout,
    published: int,
    records: int,
    with_system: int,
    rejected: dict[str, int],
) -> None:
    frame, rows, reasons = read_file(path, layout)
    assert (rows, frame.height, reasons) == (published, records, rejected)
    assert frame["system"].count() == with_system
    assert (frame["chosen"] != frame["rejected"]).all()
    assert (frame["chosen"].str.len_chars() > 0).all()
    assert (frame["rejected"].str.len_chars() > 0).all()
    for talk in talks(frame, "prompt"):
        assert [role for role, _ in talk] == [("user", "assistant")[i % 2] for i in range(len(talk))]
        assert len(talk) % 2 == 1


@pytest.mark.parametrize(
    ("path", "layout", "options", "reasons"),
    [
        ("cmb/CMB-test-choice-answer.json", MultipleChoiceLayout(), {}, {"missing_field": 1330}),
        ("cmb/CMB-test-choice-answer.json", QA(), {}, {"missing_field": 1330}),
        ("webmedqa/webMedQA.jsonl", QA(answer="reference_answer"), {}, {"empty_answer": 93}),
        (
            "pubmedqa/test_ground_truth.json",
            QA(question="QUESTION", context="CONTEXTS", answer="LONG_ANSWER"),
            {"file_format": FileFormat.JSON_OBJECT},
            {"missing_field": 338},
        ),
        (
            "pubmedqa/test_ground_truth.json",
            MultipleChoiceLayout(
                question="QUESTION", choices=("yes", "no", "maybe"), answer="final_decision"
            ),
            {"file_format": FileFormat.JSON_OBJECT},
            {"missing_field": 338},
        ),
    ],
)
def test_keys_of_answers_and_questions_without_answers_give_no_text(
    path: str, layout: Layout, options: dict[str, Any], reasons: dict[str, int]
) -> None:
    frame, _, rejected = read_file(path, layout, **options)
    assert frame.height == 0
    assert rejected == reasons
