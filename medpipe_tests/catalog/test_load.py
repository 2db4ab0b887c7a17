"""Catalog files: what is right is read, and every mistake is named with its line and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from medpipe.catalog.load import (
    CatalogError,
    builtin_sources,
    read_catalog_files,
    read_catalog_folder,
)
from medpipe.catalog.slug import slug
from medpipe.catalog.source import Source, Use
from medpipe.records.kinds import Domain, Language, Split

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


def mistakes(*paths: Path) -> list[str]:
    """What is told of each mistake, without the files' folder."""
    with pytest.raises(CatalogError) as caught:
        read_catalog_files(paths)
    told = [str(mistake).removeprefix(f"{mistake.file.parent}/") for mistake in caught.value.mistakes]
    assert all(line in str(caught.value) for line in told)
    return told


def test_the_first_sources_are_there_with_their_domains_by_file() -> None:
    sources = by_id(builtin_sources())
    pretrain = sources["shibing624_medical_pretrain"]
    assert {(file.path, file.domain) for file in pretrain.files} >= {
        ("pretrain/train_encyclopedia.json", Domain.ENCYCLOPEDIA),
        ("pretrain/medical_book_zh.json", Domain.TEXTBOOK),
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


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("language:", "langauge:", "10: 'mine': unknown field 'langauge'; did you mean 'language'?"),
        (
            "domain: disease",
            "domain: diseases",
            "7: 'mine': files.0.domain: 'diseases' is not known; did you mean 'disease'?",
        ),
        ("language: zh", "language: jp", "10: 'mine': language: 'jp' is not known; use one of zh, en, other"),
        ("layout: text", "layout: txet", "9: 'mine': layout: 'txet' is not known; did you mean 'text'?"),
        ("text: body", "txt: body", "9: 'mine': unknown field 'layout.txt'; did you mean 'text'?"),
        ("title: Mine", "title: 5", "4: 'mine': title: 5 is not a text: put it in quotes"),
        ("[pretraining]", "pretraining", "12: 'mine': uses: 'pretraining' is not a list"),
        (
            "name: mit",
            "name: mit, verified: perhaps",
            "11: 'mine': licence.verified: 'perhaps' is not true or false",
        ),
        (
            "id: mine",
            "id: Not A Slug",
            "3: 'Not A Slug': id: 'Not A Slug' is not allowed; use lower-case letters, digits and '_'",
        ),
        (
            "folder: records",
            "repository: mine",
            "6: 'mine': repository: 'mine' is not allowed; give 'owner/name'",
        ),
        ("    title: Mine\n", "", "3: 'mine': field 'title' is missing; add it"),
        (
            "    title: Mine\n",
            "    title: Mine\n    domain: disease\n",
            "5: 'mine': unknown field 'domain'; it belongs into 'files'",
        ),
        (
            "    title: Mine\n",
            "    title: Mine\n    title: Yours\n",
            "5: 'title' stands twice, first in line 4; remove one",
        ),
        (
            "kind: document",
            "kind: conversation",
            "3: 'mine': layout 'text' gives records of kind 'document', not 'conversation'",
        ),
    ],
)
def test_one_mistake_is_one_line_with_the_fix(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    assert right in ENTRY
    path = write(tmp_path / "a.yaml", ENTRY.replace(right, wrong, 1))
    assert mistakes(path) == [f"a.yaml:{told}"]


def test_mistakes_do_not_hide_one_another(tmp_path: Path) -> None:
    """Misspelt names, wrong words, and a rule across fields that is looked at only when all else is right."""
    text = ENTRY.replace("language: zh", "langauge: chinese").replace("domain: disease", "domian: lung")
    text = text.replace("kind: document", "kind: conversation").replace("text: body", "txt: 5")
    text = text.replace("[pretraining]", "[pretrainin, reward]")
    assert mistakes(write(tmp_path / "a.yaml", text)) == [
        "a.yaml:3: 'mine': layout 'text' gives records of kind 'document', not 'conversation'",
        "a.yaml:7: 'mine': unknown field 'files.0.domian'; did you mean 'domain'?",
        "a.yaml:7: 'mine': files.0.domain: 'lung' is not known; use one of "
        + ", ".join(domain.value for domain in Domain),
        "a.yaml:9: 'mine': unknown field 'layout.txt'; did you mean 'text'?",
        "a.yaml:9: 'mine': layout.text: 5 is not a text: put it in quotes",
        "a.yaml:10: 'mine': unknown field 'langauge'; did you mean 'language'?",
        "a.yaml:10: 'mine': language: 'chinese' is not known; use one of zh, en, other",
        "a.yaml:12: 'mine': uses.0: 'pretrainin' is not known; did you mean 'pretraining'?",
    ]


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    a = write(tmp_path / "a.yaml", ENTRY.replace("kind: document", "kind: conversation"))
    b = write(tmp_path / "b.yaml", ENTRY.replace("id: mine", "id: Mine") + "  - 5\n")
    c = write(tmp_path / "c.yaml", "sources:\n  - {")
    d = write(tmp_path / "d.yaml", "source: []")
    e = write(tmp_path / "dataset_info.json", '{"x": {}, "y": 1}')
    told = mistakes(a, b, c, d, e)
    assert [line.split(" ")[0] for line in told] == [
        "a.yaml:3:",
        "b.yaml:3:",
        "b.yaml:13:",
        "c.yaml:3:",
        "d.yaml:1:",
        "dataset_info.json:1:",
        "dataset_info.json:1:",
    ]


def test_an_id_that_stands_twice_names_both_places(tmp_path: Path) -> None:
    a = write(tmp_path / "a.yaml", ENTRY)
    b = write(tmp_path / "b.yaml", "# mine\n" + ENTRY)
    assert mistakes(a, b) == [f"b.yaml:4: 'mine': the id 'mine' is taken by {a}:3; choose another"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/x.json", "a/../../b.json"])
def test_a_path_out_of_the_repository_is_refused(tmp_path: Path, path: str) -> None:
    file = write(tmp_path / "a.yaml", ENTRY.replace('"*.jsonl"', f'"{path}"'))
    with pytest.raises(CatalogError, match="must stay within the repository"):
        read_catalog_files([file])


def test_a_file_that_is_not_utf8_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"sources:\n" + "# 疾病目录".encode("gb18030"))
    assert mistakes(path) == ["a.yaml:2: not UTF-8 (byte 11); save it as UTF-8"]


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(ENTRY, encoding="utf-8-sig")
    assert [source.id for source in read_catalog_files([path])] == ["mine"]


def test_slugs_are_stable_and_differ_for_different_names() -> None:
    assert slug("Med-Data v1") == "med_data_v1"
    assert slug("疾病问答") != slug("疾病问卷")
    assert slug("疾病问答") == slug("疾病问答")
    assert slug("医 qa").endswith(slug("医 qa")[-8:]) and slug("医 qa").startswith("qa_")
    assert slug("Med-Data v1", taken={"med_data_v1"}).startswith("med_data_v1_")
