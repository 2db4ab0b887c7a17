"""The real records: every published file is read, and has as many records as people counted in it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from medpipe.catalog.source import FileFormat
from medpipe.ingest.archives import unpacked
from medpipe.ingest.readers import matching_files
from medpipe_tests.ingest.reading import read, reasons
from medpipe_tests.shared_data import ROOT, shared_data

OBJECT = {"file_format": FileFormat.JSON_OBJECT}
BLOCKS = {"file_format": FileFormat.TEXT_BLOCKS}
CONSULTATIONS = {"record_start": r"^id=\d+$"}
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "apollo-medbase/Medical_Book_zh_sampled.json": ({}, 62),
    "apollo-medbase/Medical_Exam_zh_sampled.json": ({}, 60),
    "apollo-medbase/Medical_Guideline_en_sampled.json": ({}, 77),
    "apollo-medbase/Medical_Guideline_zh_sampled.json": ({}, 67),
    "apollo-medbase/Medical_Paper_en_sampled.json": ({}, 67),
    "apollo-medbase/Medical_Paper_zh_sampled.json": ({}, 58),
    "apollo-medbase/Medical_Patient_zh_sampled.json": ({}, 70),
    "apollo-medbase/Medical_Web_zh_sampled.json": ({}, 68),
    "apollo-medbase/Medical_Wiki_zh_sampled.json": ({}, 70),
    "apollo-medbase/guidelines_en_1.dev.jsonl": ({}, 60),
    "belle/dev1K.json": ({}, 664),
    "bentsao/benchmark_question.json": ({}, 116),
    "bentsao/knowledge_tuning_data_sample.txt": ({}, 201),
    "bentsao/liver_cancer.json": ({}, 628),
    "bentsao/llama_data.json": ({}, 4422),
    "bioasq/11B3_golden.json": ({"records": "questions"}, 53),
    "caregpt/ChatGPT/output.jsonl": ({}, 100),
    "caregpt/Hospital Guide/导诊指导.json": ({}, 40),
    "caregpt/dataset_info.json": ({}, 36),
    "caregpt/drug.json": ({}, 1343),
    "caregpt/self_cognition.json": ({}, 80),
    "chatdoctor/chatdoctor5k.json": ({}, 2166),
    "chatdoctor/format_dataset.csv": ({}, 514),
    "chatlm-mini-chinese/my_train_dataset_3k.parquet": ({}, 3000),
    "chatmed/ChatMed-Consult_test.json": ({}, 296),
    "cmb/CMB-test-choice-answer.json": ({}, 1330),
    "cmb/CMB-test-qa.json": ({}, 48),
    "cmekg/predicate.json": (OBJECT, 23),
    "cmekg/train_example.json": ({}, 24),
    "comparison-gpt4/comparison_gpt4_data_zh.json": ({}, 700),
    "disc-med-sft/cmd_samples.json": ({}, 76),
    "disc-med-sft/cmid_samples.json": ({}, 79),
    "disc-med-sft/test_examples.jsonl": ({}, 103),
    "diseases-symptoms/Diseases_Symptoms.csv": ({}, 258),
    "huatuo-26m/huatuo26M_test.json": ({}, 1205),
    "huatuo-26m/test_datasets.jsonl": ({}, 3917),
    "huatuogpt/KUAKE-QIC_100.json": ({}, 58),
    "huatuogpt/Med-dialog_100.json": ({}, 68),
    "huatuogpt/pubmed_test.json": ({}, 195),
    "imcs21/DAC/dev.txt": ({"columns": ("utterance", "act")}, 9000),
    "imcs21/KRDS/dxy_dialog_data_dialog_v2.txt": ({"file_format": FileFormat.PYTHON_LITERALS}, 423),
    "llamafactory/alpaca_zh_demo.json": ({}, 638),
    "llamafactory/c4_demo.jsonl": ({}, 179),
    "llamafactory/dpo_zh_demo.json": ({}, 186),
    "llamafactory/oaast_rm_zh.json": ({}, 279),
    "llm-pretrain-finetune/data_sft/doc_kb.json": ({}, 112),
    "llm-pretrain-finetune/data_sft/harmlessness.json": ({}, 19),
    "llm-pretrain-finetune/data_sft/kuake_sft.json": ({}, 1020),
    "llm-pretrain-finetune/data_sft/llama_sft.json": ({}, 446),
    "llm-pretrain-finetune/data_sft/medical_sft.json": ({}, 3063),
    "llm-pretrain-finetune/data_sft/multi_choice.json": ({}, 366),
    "med-chatglm/train.txt": ({}, 1731),
    "medalpaca/medical_meadow_small.json": ({}, 1818),
    "meddialog/COVID-Dialogue-Dataset-Chinese.txt": (CONSULTATIONS, 451),
    "meddialog/COVID-Dialogue-Dataset-English.txt": (CONSULTATIONS, 356),
    "meddialog/qa_en_1.txt": (CONSULTATIONS, 20),
    "meddialog/qa_zh_1.txt": (CONSULTATIONS, 13),
    "medicalkgqa/medical_14.json": ({}, 500),
    "medicalkgqa/medical_15.json": ({}, 500),
    "medicalkgqa/medical_2.json": ({}, 500),
    "medicalkgqa/medical_3.json": ({}, 500),
    "medmcqa/dev.json": ({}, 1287),
    "medqa/questions/US/4_options/phrases_no_exclude_test.jsonl": ({}, 486),
    "nlp-guild_medical-data/heart_array.json": ({}, 16),
    "nlp-guild_medical-data/heart_array_v2.json": ({}, 16),
    "nlp-guild_medical-data/heart_lines_dup.json": ({}, 32),
    "nlp-guild_medical-data/medical.gb18030.json": ({}, 64),
    "nlp-guild_medical-data/medical.json": ({}, 212),
    "promptcblue/train.json": ({}, 80),
    "pubmed-xml/1471-2180-11-174.nxml": ({}, 1),
    "pubmed-xml/pone.0046493.nxml": ({}, 1),
    "pubmed-xml/pubmed-29768149.xml": ({}, 1),
    "pubmedqa/ori_pqal.json": ({}, 428),
    "pubmedqa/test_ground_truth.json": (OBJECT, 338),
    "qizhengpt/药品适应症评测数据集.csv": ({}, 56),
    "scientific-papers-pubmed/train.txt": ({}, 2),
    "shennong-tcm/ShenNong-TCM-LLM - test examples.xls": ({}, 201),
    "shibing624_medical/finetune/Belle_open_source_1k.json": ({}, 363),
    "shibing624_medical/grpo/sample.jsonl": ({}, 21),
    "shibing624_medical/pretrain/en_article_tail500.txt": ({}, 426),
    "shibing624_medical/pretrain/fever.txt": ({}, 985),
    "shibing624_medical/rag/medical_corpus.txt": ({}, 53),
    "shibing624_medical/reward/dpo_zh.jsonl": ({}, 97),
    "shibing624_medical/reward/dpo_zh_500.jsonl": ({}, 323),
    "shibing624_medical/reward/test.json": ({}, 60),
    "shibing624_medical/sft/medical_sft_1K_format.jsonl": ({}, 661),
    "shibing624_medical/sft/sharegpt_zh_1K_format.jsonl": ({}, 167),
    "skywork/zh_general.jsonl": ({}, 148),
    "skywork/zh_news.jsonl": ({}, 278),
    "thucnews/class.txt": ({}, 10),
    "thucnews/dev.txt": ({}, 10000),
    "tokenizers/chatglm_tokenizer/tokenizer_config.json": (OBJECT, 5),
    "tokenizers/minimind/tokenizer.json": (OBJECT, 9),
    "tokenizers/minimind/tokenizer_config.json": (OBJECT, 23),
    "toyhom_chinese-medical-dialogue/内科.txt": (BLOCKS, 1631),
    "toyhom_chinese-medical-dialogue/样例_内科5000-6000.csv": ({}, 3949),
    "webmedqa/webMedQA.jsonl": ({}, 93),
    "wikipedia-zh/wiki_00": ({}, 64),
    "wikitext-2/valid.txt": ({}, 2461),
    "zhongjing/CMtMedQA_test.json": ({}, 748),
    "zhongjing/total_dataset.tsv": ({}, 1),
}
COUNTED_OTHERWISE = {
    "imcs21/KRDS/dxy_dialog_data_dialog_v2.txt": "the one line is a list of 423 records",
    "medicalkgqa/medical_14.json": "the four files are counted together",
    "medicalkgqa/medical_15.json": "the four files are counted together",
    "medicalkgqa/medical_2.json": "the four files are counted together",
    "medicalkgqa/medical_3.json": "the four files are counted together",
    "pubmed-xml/1471-2180-11-174.nxml": "the three files are counted together",
    "pubmed-xml/pone.0046493.nxml": "the three files are counted together",
    "pubmed-xml/pubmed-29768149.xml": "the three files are counted together",
    "shennong-tcm/ShenNong-TCM-LLM - test examples.xls": "the header row was counted",
    "shibing624_medical/pretrain/en_article_tail500.txt": "74 blank lines were counted",
    "shibing624_medical/pretrain/fever.txt": "11 blank lines were counted",
}
"""Why the README of the real records has another number."""
NO_RECORDS = {"README.md", "tokenizers/chatglm_tokenizer/tokenizer.model"}
BOOKS = "tcm-ancient-books"


@pytest.mark.parametrize("path", CASES)
def test_published_counts(path: str) -> None:
    options, rows = CASES[path]
    with unpacked(shared_data(path), member=None) as files:
        (file,) = files
        values, broken = read(file.path, **options)
    assert broken == []
    assert len(values) == rows


def test_every_file_is_read_here() -> None:
    shared_data()
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()}
    assert {path for path in files if not path.startswith(BOOKS)} == CASES.keys() | NO_RECORDS


def test_counts_agree_with_those_of_the_readme() -> None:
    counted = {}
    for line in shared_data("README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 6 and cells[5][:1].isdigit():
            counted |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[3]), cells[5])
    assert counted.keys() >= CASES.keys()
    for path, (_, rows) in CASES.items():
        assert (counted[path] == str(rows)) != (path in COUNTED_OTHERWISE), (path, counted[path], rows)


def test_books_as_documents() -> None:
    books = matching_files(shared_data(BOOKS), "*.txt")
    assert len(books) == 29
    damaged = {}
    for path in books:
        values, broken = read(path, FileFormat.TEXT_DOCUMENT)
        assert len(values) + len(broken) == 1
        if broken:
            damaged[path.name] = broken[0]
        else:
            assert "\ufffd" not in values[0]
            assert "<篇名>" in values[0]
    assert list(damaged) == ["203-婴童类萃.txt"]
    assert damaged["203-婴童类萃.txt"].reason == "encoding"
    assert "offset 27395 " in damaged["203-婴童类萃.txt"].detail


def test_a_damaged_book_loses_the_chapters_that_are_damaged() -> None:
    path = shared_data(f"{BOOKS}/203-婴童类萃.txt")
    values, broken = read(path, record_start="<目录>|<篇名>")
    assert len(values) > 100
    assert {row.reason for row in broken} == {"encoding"}
    assert len(broken) <= 2
    lines, broken = read(path)
    assert len(lines) + len(broken) == 2809
    assert {reason for _, reason in reasons(broken)} == {"encoding"}


def test_consultations_keep_their_lone_carriage_returns() -> None:
    values, _ = read(shared_data("meddialog/COVID-Dialogue-Dataset-English.txt"), **CONSULTATIONS)
    assert all(value.startswith("id=") and "Dialogue" in value for value in values)
    assert sum(value.count("\r") for value in values) == 79


def test_lists_of_a_disease_table() -> None:
    values, _ = read(shared_data("chatdoctor/format_dataset.csv"))
    for name in ("Symptom", "TestsAndProcedures", "commonMedications"):
        assert all(type(value[name]) is list for value in values)


def test_articles() -> None:
    for name in ("1471-2180-11-174.nxml", "pone.0046493.nxml"):
        values, _ = read(shared_data(f"pubmed-xml/{name}"))
        (article,) = values
        assert all(article[key] for key in article)
        assert len(article["sections"]) >= 4
    assert article["journal"] == "PLoS ONE"
    (citation,) = read(shared_data("pubmed-xml/pubmed-29768149.xml"))[0]
    assert [text.partition(":")[0] for text in citation["abstract"]] == [
        "BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS"
    ]  # fmt: skip
