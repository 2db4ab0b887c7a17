"""The published layouts as they really are: every row is accounted for and the text is what it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from medpipe.lake.layout import Lake
from medpipe.normalize.run import normalize_source
from medpipe_tests.normalize.sources import check_funnel, make_raw, make_source, records_of
from medpipe_tests.shared_data import shared_data

ALPACA = {"layout": "question_answer", "question": ["instruction", "input"], "answer": "output"}


def normalized(tmp_path: Path, folder: str, *files: str, **entry: Any) -> tuple[dict[str, Any], pl.DataFrame]:
    raw = make_raw(shared_data(folder))
    dataset = normalize_source(make_source(*files, **entry), raw, lake=Lake(tmp_path)).dataset
    return check_funnel(dataset), records_of(dataset)


def contents(records: pl.DataFrame) -> pl.Series:
    return records["turns"].explode().struct.field("content")


def test_disease_records(tmp_path: Path) -> None:
    files = ("medical.json", "medical.gb18030.json", "heart_array.json")
    facts, records = normalized(tmp_path, "nlp-guild_medical-data", *files, layout={"layout": "fields"})
    assert {path: counts["kept"] for path, counts in facts["by_file"].items()} == {
        "medical.json": 212,
        "medical.gb18030.json": 64,
        "heart_array.json": 16,
    }
    text = records["text"]
    assert text.str.starts_with("名称：").all()
    assert text.str.contains("。类别：疾病百科,", literal=True).all()
    for artefact in (
        r"。\s*。",
        # `null alleles` is genetics; a value that is `null` is not.
        r"[：,；](?i:none|null|nan)(?:[。,；]|$)",
        r"\$oid",
        "[\u200b\ufeff\ufffd\u3000\u00a0\r]",
        r"[！？]。",
    ):
        assert not text.str.contains(artefact).any(), artefact
    assert not text.str.contains(r"：\[").any()
    assert records["lang"].unique().to_list() == ["zh"]
    by_file = dict(records.group_by("path").agg("content_key").rows())
    assert set(by_file["medical.gb18030.json"]) <= set(by_file["medical.json"]), (
        "the encoding shows in the key"
    )


def test_conversations_of_objects(tmp_path: Path) -> None:
    facts, records = normalized(tmp_path, "shibing624_medical", "sft/*", layout={"layout": "turns"})
    assert facts["published"] == facts["kept"] == 661 + 167
    assert records["turns"].list.len().max() > 2
    first_roles = records["turns"].list.first().struct.field("role")
    assert (first_roles == "user").all()
    assert (contents(records) != "").all()


def test_preference_pairs(tmp_path: Path) -> None:
    facts, records = normalized(
        tmp_path, "shibing624_medical", "reward/test.json", layout={"layout": "preference"}
    )
    assert facts["published"] == facts["kept"] == 60
    assert not records["chosen"].str.contains("\u3000").any()
    assert (records["chosen"] != records["rejected"]).all()


@pytest.mark.parametrize(
    ("folder", "file", "rows"),
    [("shibing624_medical", "finetune/*", 363), ("bentsao", "llama_data.json", 4422)],
)
def test_instructions(tmp_path: Path, folder: str, file: str, rows: int) -> None:
    facts, records = normalized(tmp_path, folder, file, layout=ALPACA)
    assert facts["published"] == facts["kept"] == rows
    assert (records["turns"].list.len() == 2).all()


def test_web_text_with_titles(tmp_path: Path) -> None:
    layout = {"layout": "text", "title": "title"}
    facts, records = normalized(tmp_path, "skywork", "zh_general.jsonl", layout=layout)
    assert facts["published"] == facts["kept"] == 148
    assert not records["text"].str.contains(r"(?m)[ \t]$|\n{3}").any()


def test_questions_and_answers(tmp_path: Path) -> None:
    layout = {"layout": "question_answer", "question": ["questions"], "answer": "answers"}
    facts, records = normalized(tmp_path, "huatuo-26m", "test_datasets.jsonl", layout=layout)
    assert facts["published"] == facts["kept"] == 3917
    assert not contents(records).str.contains(r"(?i)</?(p|br|b|a|span)>|&nbsp;|\u3000").any()


def test_history_and_two_record_shapes(tmp_path: Path) -> None:
    layout = ALPACA | {"question": ["instruction", "instruct", "input"], "history": "history"}
    facts, records = normalized(tmp_path, "zhongjing", "CMtMedQA_test.json", layout=layout)
    assert facts["published"] == facts["kept"] == 748
    rounds = records["turns"].list.len()
    assert (rounds % 2 == 0).all()
    assert rounds.max() > 4
    assert (rounds == 2).sum() >= 102


def test_rows_without_answers_give_no_text(tmp_path: Path) -> None:
    layout = {"layout": "question_answer", "answer": "reference_answer"}
    facts, records = normalized(tmp_path, "webmedqa", "webMedQA.jsonl", layout=layout)
    assert facts["rejected_by_reason"] == {"empty_answer": 93}
    assert records.height == 0
