"""The built-in catalog: every corpus that is asked for has an entry, and no entry says more than is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from medpipe.catalog.load import builtin_folder, builtin_sources
from medpipe.catalog.selection import SIZE_LIMIT_BYTES, load_catalog, why_not_fetched
from medpipe.catalog.source import Genre, Source, Status, Use
from medpipe.curate.licences import LicencePurpose, allowed
from medpipe.records.kinds import Domain, Kind, Language, Split
from medpipe.settings import Settings

SOURCES = {source.id: source for source in builtin_sources()}

ASKED_FOR = {
    # Chinese medical
    "shibing624/medical (pretrain)": ["shibing624_medical_pretrain"],
    "shibing624/medical (finetune)": ["shibing624_medical_finetune"],
    "huatuo_encyclopedia_qa": ["huatuo_encyclopedia_qa"],
    "huatuo_knowledge_graph_qa": ["huatuo_knowledge_graph_qa"],
    "huatuo_consultation_qa": ["huatuo_consultation_qa"],
    "Huatuo26M-Lite": ["huatuo26m_lite"],
    "huatuo26M-testdatasets": ["huatuo26m_testdatasets"],
    "HuatuoGPT-sft-data-v1": ["huatuogpt_sft_data_v1"],
    "HuatuoGPT2 pretraining": ["huatuogpt2_pretraining_instruction"],
    "HuatuoGPT2 SFT": ["huatuogpt2_sft_gpt4_140k"],
    "DISC-Med-SFT": ["disc_med_sft"],
    "ChatMed_Consult": ["chatmed_consult"],
    "ChatMed_TCM / ShenNong_TCM": ["shennong_tcm"],
    "Chinese-medical-dialogue-data (Toyhom)": ["toyhom_chinese_medical_dialogue"],
    "Chinese-medical-dialogue-data (hub copy)": ["billgpt_chinese_medical_dialogue"],
    "cMedQA2": ["cmedqa2", "cmedqa2_test"],
    "webMedQA": ["webmedqa"],
    "CMCQA": ["cmcqa"],
    "QiZhenGPT": ["qizhengpt_sft_20k", "qizhengpt_drug_indications"],
    "IMCS-V2": ["imcs_v2"],
    "CHIP-MDCFNPC": ["chip_mdcfnpc"],
    "MedDG": ["meddg"],
    "CMtMedQA (Zhongjing)": ["cmtmedqa", "cmtmedqa_test"],
    "Med-ChatGLM": ["med_chatglm"],
    "BenTsao": ["bentsao", "bentsao_literature"],
    "CMeKG": ["cmekg", "cmekg_relations"],
    "CMB": ["cmb_train", "cmb_exam_validation", "cmb_exam", "cmb_clin"],
    "zysj-style classical texts": ["tcm_ancient_books", "zysj"],
    "MedicalGPT's own samples": [
        "medicalgpt_sft",
        "medicalgpt_finetune",
        "medicalgpt_grpo",
        "medicalgpt_pretrain",
        "medicalgpt_rag",
    ],
    # English medical and mixed
    "nlp-guild/medical-data": ["nlp_guild_medical_data"],
    "Med-dataset/Med_Dataset": ["med_dataset"],
    "kamruzzaman-asif/Diseases_Dataset": ["diseases_dataset"],
    "epfl-llm/guidelines": ["epfl_guidelines"],
    "PubMedQA": ["pubmedqa_exam", "pubmedqa_artificial", "pubmedqa_unlabeled"],
    "MedQA": ["medqa_train", "medqa_exam", "medqa_textbooks", "medqa_usmle_train", "medqa_usmle_exam"],
    "icliniq": ["icliniq_10k"],
    "HealthCareMagic-100k": ["healthcaremagic_100k"],
    "GenMedGPT-5k": ["genmedgpt_5k", "chatdoctor_diseases"],
    "medical_dialog": ["medical_dialog_zh", "medical_dialog_en"],
    "medAlpaca": [
        "medalpaca_flashcards",
        "medalpaca_wikidoc",
        "medalpaca_mediqa",
        "medalpaca_medqa",
        "medalpaca_small",
    ],
    "S2ORC": ["s2orc", "pes2o"],
    "PMC XML": ["pmc_xml", "pubmed_xml", "scientific_papers_pubmed"],
    "BioASQ": ["bioasq_train", "bioasq_golden"],
    "mkurman collections": ["mkurman_collection"],
    "NeuML collections": ["neuml_literature_collection", "neuml_pubmed_h5n1", "neuml_pubmed_hmpv"],
    "mitclinicalml/clinical-ie": ["clinical_ie"],
    "MIMIC": ["mimic_iii", "mimic_iv", "mimic_cxr"],
    # General
    "wikipedia-cn-20230720-filtered": ["wikipedia_cn_20230720_filtered"],
    "wikitext": ["wikitext_103_raw", "wikitext_2_raw"],
    "SkyPile-150B": ["skypile_150b"],
    "WuDaoCorpora": ["wudao_corpora"],
    "C4_zh": ["c4_zh"],
    "BaiduBaiKe": ["baidu_baike"],
    "THUCNews": ["thucnews", "thucnews_headlines"],
    "linly-ai/chinese-pretraining-dataset": ["linly_pretraining"],
    "BELLE": ["belle_train_1m_cn", "belle_train_0_5m_cn"],
    "GPT4-learned": ["alpaca_zh"],
    "ShareGPT": ["sharegpt_gpt4"],
    "OpenWebText": ["openwebtext"],
    "BookCorpus": ["bookcorpus"],
    "Common Crawl": ["common_crawl"],
    "RefinedWeb": ["refinedweb"],
    "arXiv": ["arxiv"],
    "CaseLaw": ["caselaw_access_project"],
    "ChineseGLUE": ["chineseglue"],
    "LLM-Pretrain-FineTune": [
        "llm_pretrain_finetune_answers",
        "llm_pretrain_finetune_instructions",
        "llm_pretrain_finetune_pretrain",
    ],
    # Exams
    "CMMLU medical subjects": ["cmmlu_medical_exam"],
    "C-Eval medical subjects": ["ceval_medical_exam"],
    # Reward
    "shibing624/medical reward": ["shibing624_medical_reward"],
    "Zhongjing rw": ["zhongjing_rw"],
    "comparison_gpt4_data": ["comparison_gpt4_data_zh", "comparison_gpt4_data_en"],
    "MedicalGPT reward": ["medicalgpt_reward"],
}
"""The names of the field, and the entries that stand for each."""

MORE = {"promptcblue", "huatuo_26m", "gpt_4_llm", "wikidoc", "qasystem_on_medical_kg"}
"""Entries that were added beyond the list: most of them for their licence, which others inherit."""

ENABLED = {
    "shibing624_medical_pretrain",
    "shibing624_medical_finetune",
    "shibing624_medical_reward",
    "nlp_guild_medical_data",
    "huatuo_encyclopedia_qa",
    "huatuogpt_sft_data_v1",
    "epfl_guidelines",
    "wikipedia_cn_20230720_filtered",
}


def _raw_entries() -> dict[str, dict[str, Any]]:
    files = (yaml.safe_load(path.read_text("utf-8")) for path in builtin_folder().glob("*.yaml"))
    return {entry["id"]: entry for file in files for entry in file["sources"]}


RAW = _raw_entries()
"""What the YAML files themselves say, without any default."""
READABLE = [source for source in SOURCES.values() if source.status in (Status.AVAILABLE, Status.MANUAL)]
UNREAD = [source for source in SOURCES.values() if source.status in (Status.LISTED, Status.EXCLUDED)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, hub=None, sources=None, hf_token=None)


def test_every_corpus_that_is_asked_for_has_its_entries() -> None:
    ids = Counter(source_id for entries in ASKED_FOR.values() for source_id in entries)
    assert max(ids.values()) == 1
    assert set(ids) | MORE == set(SOURCES)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_an_entry_states_what_is_known_and_what_is_not(source: Source) -> None:
    said = RAW[source.id]
    assert {"title", "description", "language", "genre", "licence", "verified"} <= set(said)
    assert "name" in said["licence"] and "verified" in said["licence"]
    assert all("domain" in file for file in said.get("files", []))
    assert source.size_bytes is None or source.size_bytes > 0
    assert source.repository or source.page
    assert source.licence.name is not None or source.licence.note or not source.licence.verified, (
        "a page that was read and states no licence says so in the note"
    )


@pytest.mark.parametrize("source", READABLE, ids=lambda source: source.id)
def test_an_entry_that_can_be_read_says_how(source: Source) -> None:
    assert source.files and source.layout and source.uses and source.domains
    rows = [file.published_rows for file in source.files]
    if source.published_rows is not None and all(row is not None for row in rows):
        assert sum(row for row in rows if row is not None) == source.published_rows
    if source.status is Status.MANUAL:
        assert source.status_note, "a person must know what to fetch"
        assert source.repository is None


@pytest.mark.parametrize("source", UNREAD, ids=lambda source: source.id)
def test_an_entry_that_nobody_could_verify_is_only_shown(source: Source, settings: Settings) -> None:
    assert not source.verified
    assert source.status_note
    assert source.id in (why_not_fetched(source, settings) or "")


def test_the_same_eight_are_enabled_and_none_of_them_is_gated(settings: Settings) -> None:
    catalog = load_catalog(settings)
    assert {source.id for source in catalog.enabled} == ENABLED
    assert not any(source.gated for source in catalog.enabled)
    assert not any(source.enabled for source in SOURCES.values() if source.id not in ENABLED)


def test_nothing_large_is_fetched_without_a_word(settings: Settings) -> None:
    large = {id for id, source in SOURCES.items() if (source.size_bytes or 0) > SIZE_LIMIT_BYTES}
    assert large >= {
        "skypile_150b",
        "wudao_corpora",
        "c4_zh",
        "refinedweb",
        "baidu_baike",
        "pes2o",
        "caselaw_access_project",
        "huatuogpt2_pretraining_instruction",
    }
    for source_id in large:
        if SOURCES[source_id].status is Status.AVAILABLE:
            assert "--accept-size" in (why_not_fetched(SOURCES[source_id], settings) or "")


@pytest.mark.parametrize("source_id", ["c4_zh", "refinedweb", "pes2o", "caselaw_access_project"])
def test_a_size_that_is_not_the_files_own_is_told(source_id: str) -> None:
    assert "the size is" in (SOURCES[source_id].status_note or "")


@pytest.mark.parametrize(
    "source_id",
    [
        "arxiv",
        "scientific_papers_pubmed",
        "imcs_v2",
        "disc_med_sft",
        "medical_dialog_zh",
        "medical_dialog_en",
        "openwebtext",
        "comparison_gpt4_data_zh",
        "comparison_gpt4_data_en",
    ],
)
def test_a_shape_that_was_read_elsewhere_is_not_verified(source_id: str) -> None:
    assert not SOURCES[source_id].verified
    assert SOURCES[source_id].status_note


def test_parents_are_entries() -> None:
    titles = {source.title for source in SOURCES.values()}
    parents = {parent for source in SOURCES.values() for parent in source.derived_from}
    assert parents <= titles
    assert len(titles) == len(SOURCES)
    assert not any(source.title in source.derived_from for source in SOURCES.values())


@pytest.mark.parametrize(
    ("source_id", "parent"),
    [
        ("nlp_guild_medical_data", "qasystem_on_medical_kg"),
        ("alpaca_zh", "gpt_4_llm"),
        ("comparison_gpt4_data_zh", "gpt_4_llm"),
    ],
)
def test_what_forbids_commercial_use_is_inherited(source_id: str, parent: str) -> None:
    verdict = allowed(SOURCES[source_id], LicencePurpose.COMMERCIAL, catalog=list(SOURCES.values()))
    assert verdict.allowed is False
    assert parent in verdict.reason


def test_known_overlaps_are_named() -> None:
    parents = {source.id: set(source.derived_from) for source in SOURCES.values()}
    assert "MedQA textbooks" in parents["shibing624_medical_pretrain"]
    assert {"HealthCareMagic-100k", "GenMedGPT-5k"} <= parents["shibing624_medical_finetune"]
    assert "zhangsheng93/cMedQA2" in parents["disc_med_sft"]
    assert parents["medqa_usmle_train"] == {"MedQA (train)"}
    assert parents["medqa_usmle_exam"] == {"MedQA (held out)"}
    assert parents["huatuo_consultation_qa"] == {"FreedomIntelligence/Huatuo-26M"}
    assert parents["medicalgpt_finetune"] == {"BelleGroup/train_0.5M_CN"}


def test_held_out_questions_are_for_evaluation_only() -> None:
    held_out = [source for source in READABLE if source.kind is Kind.EXAM_ITEM]
    assert {source.id for source in held_out} >= {
        "cmb_exam",
        "cmb_exam_validation",
        "medqa_exam",
        "medqa_usmle_exam",
        "pubmedqa_exam",
        "cmmlu_medical_exam",
        "ceval_medical_exam",
    }
    for source in held_out:
        assert source.uses == (Use.EVALUATION,), source.id
        assert Split.TRAIN not in {file.split for file in source.files}, source.id
    for source in READABLE:
        splits = {file.split for file in source.files}
        if source.uses == (Use.EVALUATION,):
            assert Split.TRAIN not in splits, source.id
        else:
            assert Split.TRAIN in splits, source.id


@pytest.mark.parametrize("source_id", ["cmb_train", "medqa_train", "medqa_usmle_train"])
def test_exams_that_may_be_trained_on_are_conversations(source_id: str) -> None:
    source = SOURCES[source_id]
    assert (source.kind, source.uses) == (Kind.CONVERSATION, (Use.FINETUNING,))
    assert {file.split for file in source.files} == {Split.TRAIN}


def test_the_answer_key_of_cmb_only_completes_its_questions() -> None:
    for source in SOURCES.values():
        assert not any("answer.json" in file.path for file in source.files), source.id
    (file,) = SOURCES["cmb_exam"].files
    assert file.lookup is not None and file.lookup.path.endswith("CMB-test-choice-answer.json")


def test_exams_and_extraction_never_feed_pretraining() -> None:
    kept_apart = [s for s in SOURCES.values() if s.genre in (Genre.EXAM, Genre.EXTRACTION)]
    assert kept_apart
    assert not any(Use.PRETRAINING in source.uses for source in kept_apart)


def test_patients_records_are_gated_and_for_evaluation_only(settings: Settings) -> None:
    for source_id in ("clinical_ie", "mimic_iii", "mimic_iv", "mimic_cxr"):
        source = SOURCES[source_id]
        assert source.gated and not source.accept_terms and not source.enabled
        assert source.uses == (Use.EVALUATION,)
        assert source.genre in (Genre.CLINICAL_RECORD, Genre.EXTRACTION)
        assert why_not_fetched(source, settings)
    assert not any(source.enabled for source in SOURCES.values() if source.gated)


def test_what_is_known_of_single_sources() -> None:
    assert SOURCES["nlp_guild_medical_data"].language is Language.ZH
    consultations = SOURCES["huatuo_consultation_qa"]
    assert consultations.status is Status.EXCLUDED and "links" in (consultations.status_note or "")
    assert SOURCES["huatuo26m_testdatasets"].uses == (Use.EVALUATION,)
    (books,) = SOURCES["tcm_ancient_books"].files
    assert (books.domain, books.record_start) == (Domain.TCM, "^<目录>")
    assert {file.keep_where["label"] for file in SOURCES["webmedqa"].files} == {("1",)}
    subjects = {file.subset for file in SOURCES["ceval_medical_exam"].files}
    assert subjects == {"basic_medicine", "clinical_medicine", "physician"}


def test_reward_sources_are_preferences_and_nothing_else_is() -> None:
    preferences = {source.id for source in SOURCES.values() if source.kind is Kind.PREFERENCE}
    assert preferences == {source.id for source in SOURCES.values() if Use.REWARD in source.uses}
