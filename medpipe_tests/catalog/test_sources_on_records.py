"""Built-in entries on real records of their corpora: their layouts read them, row for row."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path

import pytest

from medpipe.catalog.load import builtin_sources
from medpipe.catalog.source import Status
from medpipe.curate.contamination.exams import is_exam_source
from medpipe.normalize.trial import TriedFile, try_source
from medpipe.records.kinds import Split
from medpipe_tests.shared_data import shared_data

SOURCES = {source.id: source for source in builtin_sources()}

READ_WHOLE = [
    ("nlp_guild_medical_data", {"medical.json": "nlp-guild_medical-data/medical.json"}, 212),
    ("nlp_guild_medical_data", {"medical.json": "medicalkgqa/medical_2.json"}, 500),
    ("huatuo26m_testdatasets", {"test_datasets.jsonl": "huatuo-26m/test_datasets.jsonl"}, 3917),
    ("cmb_clin", {"CMB-Clin-qa.json": "cmb/CMB-test-qa.json"}, 48),
    (
        "shibing624_medical_reward",
        {f"reward/{name}.json": "shibing624_medical/reward/test.json" for name in ("train", "valid", "test")},
        3 * 60,
    ),
    (
        "medicalgpt_sft",
        {
            "data/sft/medical_sft_1K_format.jsonl": "shibing624_medical/sft/medical_sft_1K_format.jsonl",
            "data/sft/sharegpt_zh_1K_format.jsonl": "shibing624_medical/sft/sharegpt_zh_1K_format.jsonl",
        },
        661 + 167,
    ),
    (
        "medicalgpt_finetune",
        {"data/finetune/Belle_open_source_1k.json": "shibing624_medical/finetune/Belle_open_source_1k.json"},
        363,
    ),
    ("medicalgpt_grpo", {"data/grpo/sample.jsonl": "shibing624_medical/grpo/sample.jsonl"}, 21),
    (
        "medicalgpt_reward",
        {"data/reward/dpo_zh_500.jsonl": "shibing624_medical/reward/dpo_zh_500.jsonl"},
        323,
    ),
    ("medicalgpt_rag", {"data/rag/medical_corpus.txt": "shibing624_medical/rag/medical_corpus.txt"}, 53),
    ("alpaca_zh", {"alpaca_gpt4_data_zh.json": "llamafactory/alpaca_zh_demo.json"}, 638),
    ("disc_med_sft", {"DISC-Med-SFT_released.jsonl": "disc-med-sft/test_examples.jsonl"}, 103),
    ("chatmed_consult", {"ChatMed_Consult-v0.3.json": "chatmed/ChatMed-Consult_test.json"}, 296),
    ("promptcblue", {"train.json": "promptcblue/train.json", "dev.json": "promptcblue/train.json"}, 160),
    (
        "toyhom_chinese_medical_dialogue",
        {"Data_数据/IM_内科/内科5000-33000.csv": ("toyhom_chinese-medical-dialogue/样例_内科5000-6000.csv")},
        3949,
    ),
    (
        "qizhengpt_drug_indications",
        {"data/eval/药品适应症评测数据集.csv": "qizhengpt/药品适应症评测数据集.csv"},
        56,
    ),
    ("cmtmedqa_test", {"CMtMedQA_test.json": "zhongjing/CMtMedQA_test.json"}, 748),
    ("med_chatglm", {"data/train.txt": "med-chatglm/train.txt"}, 1731),
    ("bentsao", {"data/llama_data.json": "bentsao/llama_data.json"}, 4422),
    ("bentsao_literature", {"data-literature/liver_cancer.json": "bentsao/liver_cancer.json"}, 628),
    ("cmekg_relations", {"train_example.json": "cmekg/train_example.json"}, 24),
    ("genmedgpt_5k", {"chatdoctor5k.json": "chatdoctor/chatdoctor5k.json"}, 2166),
    ("chatdoctor_diseases", {"format_dataset.csv": "chatdoctor/format_dataset.csv"}, 514),
    ("medalpaca_small", {"medical_meadow_small.json": "medalpaca/medical_meadow_small.json"}, 1818),
    (
        "medqa_usmle_exam",
        {"phrases_no_exclude_test.jsonl": "medqa/questions/US/4_options/phrases_no_exclude_test.jsonl"},
        486,
    ),
    (
        "medqa_usmle_train",
        {"phrases_no_exclude_train.jsonl": "medqa/questions/US/4_options/phrases_no_exclude_test.jsonl"},
        486,
    ),
    ("pubmedqa_exam", {"data/ori_pqal.json": "pubmedqa/ori_pqal.json"}, 428),
    ("bioasq_golden", {"Task11BGoldenEnriched/11B3_golden.json": "bioasq/11B3_golden.json"}, 53),
    (
        "pmc_xml",
        {
            "a/1471-2180-11-174.nxml": "pubmed-xml/1471-2180-11-174.nxml",
            "b/PMC3466241.xml": "pubmed-xml/pone.0046493.nxml",
        },
        2,
    ),
    ("pubmed_xml", {"pubmed24n0001.xml": "pubmed-xml/pubmed-29768149.xml"}, 1),
    (
        "scientific_papers_pubmed",
        {
            f"pubmed-dataset.zip!pubmed-dataset/{name}.txt": "scientific-papers-pubmed/train.txt"
            for name in ("train", "val", "test")
        },
        6,
    ),
    ("skypile_150b", {"data/2020-40_zh_head_0000.jsonl": "skywork/zh_general.jsonl"}, 148),
    (
        "c4_zh",
        {"multilingual/c4-zh.tfrecord-00000-of-01024.json.gz": "llamafactory/c4_demo.jsonl"},
        179,
    ),
    ("belle_train_1m_cn", {"Belle_open_source_1M.json": "belle/dev1K.json"}, 664),
    (
        "llm_pretrain_finetune_answers",
        {
            f"data_sft/{name}.json": f"llm-pretrain-finetune/data_sft/{name}.json"
            for name in ("medical_sft", "kuake_sft", "llama_sft")
        },
        None,
    ),
    (
        "llm_pretrain_finetune_instructions",
        {
            f"data_sft/{name}.json": f"llm-pretrain-finetune/data_sft/{name}.json"
            for name in ("multi_choice", "doc_kb")
        },
        None,
    ),
    (
        "medical_dialog_en",
        {"data/Medical-Dialogue-Dataset-English.zip!icliniq_dialogue.txt": "meddialog/qa_en_1.txt"},
        20,
    ),
]
"""Entry, published path (a member of a zip archive behind `!`) of each real file, and the rows together."""


def tried(tmp_path: Path, source_id: str, files: dict[str, str]) -> list[TriedFile]:
    """What becomes of real files when they lie where the entry says."""
    for place, origin in files.items():
        archive, _, member = place.partition("!")
        target = tmp_path / archive
        target.parent.mkdir(parents=True, exist_ok=True)
        if member:
            with zipfile.ZipFile(target, "a") as opened:
                opened.write(shared_data(origin), member)
        elif target.suffix == ".gz":
            target.write_bytes(gzip.compress(shared_data(origin).read_bytes(), 1))
        else:
            shutil.copyfile(shared_data(origin), target)
    local = {"folder": tmp_path, "repository": None, "status": Status.AVAILABLE}
    results = list(try_source(SOURCES[source_id].model_copy(update=local)))
    assert [result.error for result in results] == [None] * len(results)
    assert all(result.adds_up for result in results)
    return results


@pytest.mark.parametrize(("source_id", "files", "rows"), READ_WHOLE, ids=[each[0] for each in READ_WHOLE])
def test_every_row_gives_a_record(
    tmp_path: Path, source_id: str, files: dict[str, str], rows: int | None
) -> None:
    results = tried(tmp_path, source_id, files)
    assert {result.path.replace(".zip/", ".zip!") for result in results} == set(files)
    assert all(result.rejected == {} and result.kept == result.published > 0 for result in results)
    if rows is not None:
        assert sum(result.published for result in results) == rows


def test_ranked_answers_give_a_pair_each(tmp_path: Path) -> None:
    (result,) = tried(tmp_path, "zhongjing_rw", {"data/rlhf2000_7_31.json": "llamafactory/oaast_rm_zh.json"})
    assert result.published == 279 and set(result.rejected) == {"single_answer"}
    assert result.records > result.kept > 270


def test_pairs_of_the_same_answer_are_told(tmp_path: Path) -> None:
    place = "comparison_gpt4_data_zh.json"
    (result,) = tried(tmp_path, "comparison_gpt4_data_zh", {place: f"comparison-gpt4/{place}"})
    assert (result.published, result.kept, result.rejected) == (700, 696, {"identical_answers": 4})


def test_transcripts_without_an_answer_are_told(tmp_path: Path) -> None:
    place = "data/Medical-Dialogue-Dataset-Chinese.zip!2020.txt"
    (result,) = tried(tmp_path, "medical_dialog_zh", {place: "meddialog/qa_zh_1.txt"})
    assert (result.published, result.kept, result.rejected) == (13, 11, {"no_answer": 2})


def test_classical_books_are_cut_at_their_chapters(tmp_path: Path) -> None:
    names = [path.name for path in shared_data("tcm-ancient-books").glob("*.txt")][:3]
    results = tried(tmp_path, "tcm_ancient_books", {name: f"tcm-ancient-books/{name}" for name in names})
    assert len(results) == len(names)
    assert all(result.kept > 1 for result in results)


def test_an_answer_key_by_itself_is_no_text(tmp_path: Path) -> None:
    key = "CMB-test-choice-answer.json"
    shutil.copyfile(shared_data(f"cmb/{key}"), tmp_path / key)
    local = {"folder": tmp_path, "repository": None, "status": Status.AVAILABLE}
    for source_id in ("cmb_train", "cmb_exam_validation", "cmb_exam", "cmb_clin"):
        (result,) = try_source(SOURCES[source_id].model_copy(update=local))
        assert result.records == 0 and result.error is not None


def test_the_test_set_of_cmedqa2_is_the_questions_that_it_names(tmp_path: Path) -> None:
    """As published: two tables, and the test set as ids of candidates, each in an archive of its own."""
    for name, content in {
        "question.zip!question.csv": (
            "question_id,content\n11,头痛怎么办？\n12,咳嗽怎么办？\n13,牙疼怎么办？\n"
        ),
        "answer.zip!answer.csv": "ans_id,question_id,content\n1,11,休息。\n2,12,喝水。\n3,13,拔牙。\n",
        "test_candidates.zip!test_candidates.txt": (
            "question_id,ans_id,cnt,label\n12,2,0,1\n12,1,1,0\n12,3,2,0\n11,1,0,1\n11,2,1,0\n"
        ),
        "train_candidates.zip!train_candidates.txt": "question_id,pos_ans_id,neg_ans_id\n13,3,1\n",
    }.items():
        archive, _, member = name.partition("!")
        with zipfile.ZipFile(tmp_path / archive, "w") as opened:
            opened.writestr(member, content)
            opened.writestr(f"__MACOSX/._{member}", "x")
    local = {"folder": tmp_path, "repository": None, "status": Status.AVAILABLE}
    source = SOURCES["cmedqa2_test"].model_copy(update=local)
    (result,) = try_source(source, show=5)
    assert (result.error, result.kept, result.rejected) == (None, 2, {"not_wanted": 3})
    assert [record["text"] for record in result.shown] == ["咳嗽怎么办？", "头痛怎么办？"]
    assert is_exam_source(source) and {file.split for file in source.files} == {Split.TEST}
