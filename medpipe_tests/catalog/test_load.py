"""Catalog files: what is right is read, and every mistake is named with its place and fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medpipe.catalog.load import CatalogError, builtin_sources, read_catalog_files, read_catalog_folder
from medpipe.catalog.slug import slug
from medpipe.catalog.source import Source, Use
from medpipe.records.kinds import Domain, Kind, Language, Split

ENTRY = """
sources:
  - id: mine
    title: Mine
    description: My own records.
    folder: records
    files: [{path: "*.jsonl", domain: disease}]
    kind: document
    layout: {layout: text, text: body}
    language: zh
    licence: {name: mit}
    uses: [pretraining]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def by_id(sources: tuple[Source, ...]) -> dict[str, Source]:
    return {source.id: source for source in sources}


def test_the_first_sources_are_there_with_their_domains_by_file() -> None:
    sources = by_id(builtin_sources())
    pretrain = sources["shibing624_medical_pretrain"]
    assert {file.path: file.domain for file in pretrain.files} == {
        "pretrain/train_encyclopedia.json": Domain.ENCYCLOPEDIA,
        "pretrain/medical_book_zh.json": Domain.TEXTBOOK,
    }
    repositories = {source.repository for source in sources.values()}
    assert repositories >= {
        "shibing624/medical",
        "nlp-guild/medical-data",
        "FreedomIntelligence/huatuo_encyclopedia_qa",
        "FreedomIntelligence/HuatuoGPT-sft-data-v1",
        "epfl-llm/guidelines",
        "pleisto/wikipedia-cn-20230720-filtered",
    }
    assert sources["shibing624_medical_reward"].uses == (Use.REWARD,)
    assert sources["epfl_guidelines"].language is Language.EN


def test_an_own_entry_is_read_and_its_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    (source,) = read_catalog_folder(write(tmp_path / "a.yaml", ENTRY).parent)
    assert source.folder == tmp_path / "records"
    assert source.files[0].split is Split.TRAIN


def test_an_unknown_field_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", ENTRY.replace("language:", "langauge:"))
    with pytest.raises(CatalogError) as caught:
        read_catalog_files([path])
    message = str(caught.value)
    assert str(path) in message and "'mine'" in message
    assert "unknown field 'langauge'; did you mean 'language'?" in message
    assert "field 'language' is missing" in message


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", ENTRY.replace("kind: document", "kind: conversation"))
    write(tmp_path / "b.yaml", ENTRY.replace("id: mine", "id: Not A Slug"))
    write(tmp_path / "c.yaml", "sources: {")
    with pytest.raises(CatalogError) as caught:
        read_catalog_folder(tmp_path)
    message = str(caught.value)
    assert "layout 'text' gives records of kind 'document', not 'conversation'" in message
    assert "b.yaml" in message and "c.yaml" in message


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", ENTRY)
    write(tmp_path / "b.yaml", ENTRY)
    with pytest.raises(CatalogError, match="the id 'mine' is taken"):
        read_catalog_folder(tmp_path)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/x.json", "a/../../b.json"])
def test_a_path_out_of_the_repository_is_refused(tmp_path: Path, path: str) -> None:
    file = write(tmp_path / "a.yaml", ENTRY.replace('"*.jsonl"', f'"{path}"'))
    with pytest.raises(CatalogError, match="must stay within the repository"):
        read_catalog_files([file])


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("title: 疾病目录".encode("gb18030"))
    with pytest.raises(CatalogError, match="not UTF-8"):
        read_catalog_files([path])


def test_a_dataset_info_becomes_entries(tmp_path: Path) -> None:
    (tmp_path / "qa.json").write_text("[]")
    registry = {
        "alpaca": {"file_name": "qa.json"},
        "疾病问答": {
            "file_name": "qa.json",
            "columns": {"prompt": "问", "query": "补充", "response": "答", "history": "历史"},
        },
        "chat": {
            "hf_hub_url": "owner/chat",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "bot",
            },
        },
        "pairs": {"file_name": "qa.json", "ranking": True},
        "plain": {"file_name": "qa.json", "columns": {"prompt": "text"}},
        "gone": {"file_name": "nowhere.json"},
    }
    write(tmp_path / "dataset_info.json", json.dumps(registry, ensure_ascii=False))
    sources = {source.title: source for source in read_catalog_folder(tmp_path)}
    assert sources["alpaca"].layout.model_dump()["question"] == ("instruction", "input")
    chinese = sources["疾病问答"]
    assert chinese.id.isascii() and chinese.layout.model_dump()["history"] == "历史"
    assert sources["chat"].repository == "owner/chat"
    assert sources["chat"].layout.model_dump()["user"] == ("user",)
    assert sources["pairs"].kind is Kind.PREFERENCE
    assert sources["plain"].kind is Kind.DOCUMENT
    assert sources["gone"].status == "listed"


def test_slugs_are_stable_and_differ_for_different_names() -> None:
    assert slug("Med-Data v1") == "med_data_v1"
    assert slug("疾病问答") != slug("疾病问卷")
    assert slug("疾病问答") == slug("疾病问答")
    assert slug("医 qa").endswith(slug("医 qa")[-8:]) and slug("医 qa").startswith("qa_")
