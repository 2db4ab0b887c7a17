"""Which texts of a source are exam items, and in which layouts they are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from medpipe.catalog.load import builtin_sources
from medpipe.catalog.source import Source
from medpipe.curate.contamination.exams import exam_rows, exam_texts, is_exam_source
from medpipe.curate.contamination.index import ExamIndex
from medpipe.lake.layout import Lake
from medpipe.records.kinds import Kind
from medpipe_tests.curate.test_contamination import OPTIONS, positions
from medpipe_tests.making import make_source, publish_records, turns

EXAM = make_source("exam", Kind.CONVERSATION, uses=["evaluation"])


def exam_item(question: str, options: list[str]) -> dict[str, Any]:
    labels = [{"label": "ABCDE"[n], "text": text} for n, text in enumerate(options)]
    return {"question": question, "options": labels, "answers": ["A"], "subject": None}


def multiple_choice() -> Source:
    layout = {"layout": "multiple_choice"}
    source = make_source("choices", Kind.CONVERSATION, layout=layout, uses=["evaluation"])
    return source.model_copy(update={"kind": Kind.EXAM_ITEM})


def test_an_exam_item_is_found_with_and_without_its_labels(tmp_path: Path) -> None:
    stem = "下列药物中首选的是"
    rows = [exam_item(stem, OPTIONS)]
    data = publish_records(Lake(tmp_path), "choices", Kind.EXAM_ITEM, rows)
    items = exam_texts(multiple_choice(), data).collect()
    assert items.columns == ["id", "text", "lang", "is_answer"]
    exams = ExamIndex.build(items)
    labelled = (
        stem + "：" + "".join(f" {letter}. {text}" for letter, text in zip("ABCD", OPTIONS, strict=True))
    )
    bare = stem + "？\n" + "\n".join(OPTIONS)
    assert positions(exams, labelled, bare, stem, "、".join(reversed(OPTIONS))) == [0, 1]


def test_conversations_give_questions_and_answers(tmp_path: Path) -> None:
    rows = [{"turns": turns("问一", "答一", "问二", "答二")}]
    data = publish_records(Lake(tmp_path), "exam", Kind.CONVERSATION, rows)
    found = exam_texts(EXAM, data).select("text", "is_answer").collect().rows()
    assert found == [("问一 问二", False), ("答一 答二", True)]


def test_of_a_source_that_is_also_trained_on_only_the_test_split_is_an_exam(tmp_path: Path) -> None:
    rows = [{"turns": turns(split, "答"), "split": split} for split in ("train", "validation", "test")]
    data = publish_records(Lake(tmp_path), "both", Kind.CONVERSATION, rows)
    files = [{"path": f"{split}.jsonl", "domain": "disease", "split": split} for split in ("train", "test")]
    both = make_source("both", Kind.CONVERSATION, uses=["finetuning", "evaluation"], files=files)
    assert is_exam_source(both)
    assert exam_texts(both, data).filter(~pl.col("is_answer")).collect()["text"].to_list() == ["test"]
    plain = make_source("both", Kind.CONVERSATION, uses=["finetuning"], files=files)
    assert not is_exam_source(plain)
    assert exam_texts(plain, data).collect().is_empty()


def test_preferences_and_documents_can_be_exams() -> None:
    preference = make_source("p", Kind.PREFERENCE, uses=["reward", "evaluation"])
    frame = pl.LazyFrame(
        {
            "id": ["x"],
            "lang": ["zh"],
            "split": ["test"],
            "prompt": [turns("问")],
            "chosen": ["好"],
            "rejected": ["坏"],
        }
    )
    files = [{"path": "a.jsonl", "domain": "disease", "split": "test"}]
    held_out = preference.model_copy(update={"files": make_source("f", files=files).files})
    assert exam_rows(held_out, frame).select("text", "is_answer").collect().rows() == [
        ("问", False),
        ("好", True),
        ("坏", True),
    ]
    document = make_source("d", uses=["evaluation"])
    texts = exam_rows(
        document, pl.LazyFrame({"id": ["x"], "lang": ["zh"], "split": ["train"], "text": ["文"]})
    )
    assert texts.collect().select("text", "is_answer").rows() == [("文", True)]


def test_the_exams_of_the_catalog() -> None:
    exams = {source.id for source in builtin_sources() if is_exam_source(source)}
    named = {"cmb_exam", "cmb_exam_validation", "cmb_clin", "cmmlu_medical_exam", "ceval_medical_exam"}
    named |= {"medqa_exam", "medqa_usmle_exam", "pubmedqa_exam", "huatuo26m_testdatasets"}
    assert named <= exams
    assert not exams & {
        "huatuo_encyclopedia_qa",
        "wikitext_103_raw",
        "arxiv",
        "cmb_train",
        "medqa_train",
        "tcm_ancient_books",
    }
