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
            "8: 'mine': layout 'text' gives records of kind 'document', not 'conversation'",
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
        "a.yaml:7: 'mine': unknown field 'files.0.domian'; did you mean 'domain'?",
        "a.yaml:7: 'mine': files.0.domain: 'lung' is not known; use one of "
        + ", ".join(domain.value for domain in Domain),
        "a.yaml:8: 'mine': layout 'text' gives records of kind 'document', not 'conversation'",
        "a.yaml:9: 'mine': unknown field 'layout.txt'; did you mean 'text'?",
        "a.yaml:9: 'mine': layout.text: 5 is not a text: put it in quotes",
        "a.yaml:10: 'mine': unknown field 'langauge'; did you mean 'language'?",
        "a.yaml:10: 'mine': language: 'chinese' is not known; use one of zh, en, other",
        "a.yaml:12: 'mine': uses.0: 'pretrainin' is not known; did you mean 'pretraining'?",
        "a.yaml:12: 'mine': 'reward' needs records of kind 'preference', not 'conversation'; remove it",
    ]


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    a = write(tmp_path / "a.yaml", ENTRY.replace("kind: document", "kind: conversation"))
    b = write(tmp_path / "b.yaml", ENTRY.replace("id: mine", "id: Mine") + "  - 5\n")
    c = write(tmp_path / "c.yaml", "sources:\n  - {")
    d = write(tmp_path / "d.yaml", "source: []")
    e = write(tmp_path / "dataset_info.json", '{"x": {}, "y": 1}')
    told = mistakes(a, b, c, d, e)
    assert [line.split(" ")[0] for line in told] == [
        "a.yaml:8:",
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


def test_every_rule_across_fields_that_is_broken_is_told_in_its_line(tmp_path: Path) -> None:
    text = ENTRY.replace("    folder: records\n", "")
    text = text.replace("kind: document\n", "kind: conversation\n    status: excluded\n    folder: x\n")
    text = text.replace('"*.jsonl"', '"../x.txt", format: text_records') + "    repository: a/b\n"
    told = mistakes(write(tmp_path / "a.yaml", text))
    assert [line.partition(" 'mine': ")[::2] for line in told] == [
        ("a.yaml:6:", "file path '../x.txt' must stay within the repository"),
        (
            "a.yaml:6:",
            "'text_records' needs 'record_start', an expression for the line that starts a record",
        ),
        ("a.yaml:7:", "layout 'text' gives records of kind 'document', not 'conversation'"),
        ("a.yaml:8:", "say in 'status_note' why the source is excluded"),
        ("a.yaml:9:", "give either 'repository' (owner/name on the hub) or 'folder' (a local folder)"),
    ]


@pytest.mark.parametrize(
    ("kind", "layout", "use", "possible"),
    [
        ("preference", "preference", "pretraining", False),
        ("exam_item", "multiple_choice", "pretraining", False),
        ("document", "text", "reward", False),
        ("exam_item", "multiple_choice", "reward", False),
        ("preference", "preference", "reward", True),
        ("preference", "preference", "evaluation", True),
        ("exam_item", "multiple_choice", "evaluation", True),
        ("conversation", "multiple_choice", "pretraining", True),
        ("document", "text", "finetuning", True),
    ],
)
def test_a_use_that_the_kind_cannot_give_is_a_mistake(
    tmp_path: Path, kind: str, layout: str, use: str, possible: bool
) -> None:
    text = ENTRY.replace("kind: document", f"kind: {kind}").replace("[pretraining]", f"[evaluation, {use}]")
    path = write(tmp_path / "a.yaml", text.replace("{layout: text, text: body}", f"{{layout: {layout}}}"))
    if possible:
        assert read_catalog_files([path])[0].uses[1] == use
    else:
        (told,) = mistakes(path)
        assert told.startswith(f"a.yaml:12: 'mine': '{use}' needs records of kind ")
        assert told.endswith(f", not '{kind}'; remove it")


def test_an_id_is_taken_also_by_and_for_an_entry_that_does_not_validate(tmp_path: Path) -> None:
    a = write(tmp_path / "a.yaml", ENTRY.replace("language: zh", "language: jp"))
    b = write(tmp_path / "b.yaml", ENTRY.replace("title: Mine", "title: 5"))
    assert mistakes(a, b) == [
        "a.yaml:10: 'mine': language: 'jp' is not known; use one of zh, en, other",
        f"b.yaml:3: 'mine': the id 'mine' is taken by {a}:3; choose another",
        "b.yaml:4: 'mine': title: 5 is not a text: put it in quotes",
    ]


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("source", "did you mean 'sources'?"),
        ("licence", "it belongs into an entry of 'sources'"),
        ("zzz", "only 'sources' stands at the top; remove it"),
    ],
)
def test_an_unknown_key_beside_the_sources_is_a_mistake(tmp_path: Path, key: str, fix: str) -> None:
    path = write(tmp_path / "a.yaml", f"{ENTRY}{key}: []\n")
    assert mistakes(path) == [f"a.yaml:13: unknown field '{key}'; {fix}"]


def test_a_misspelt_list_of_sources_is_one_mistake(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", ENTRY.replace("sources:", "suorces:"))
    assert mistakes(path) == ["a.yaml:2: unknown field 'suorces'; did you mean 'sources'?"]


def test_a_folder_that_is_not_there_is_a_mistake_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", ENTRY.replace("language: zh", "language: jp"))
    with pytest.raises(CatalogError) as caught:
        read_catalog_files([path], check_folders=True)
    assert [mistake.line for mistake in caught.value.mistakes] == [6, 10]
    assert f"folder: {tmp_path / 'records'} is not there" in caught.value.mistakes[0].message
    path.write_text(ENTRY)
    assert read_catalog_files([path])[0].folder == tmp_path / "records"
    (tmp_path / "records").mkdir()
    assert read_catalog_files([path], check_folders=True)


def test_a_hashed_id_is_named_with_its_title() -> None:
    (source,) = (each for each in builtin_sources() if each.id == "epfl_guidelines")
    assert source.name == "epfl_guidelines"
    hashed = source.model_copy(update={"id": slug("疾病问答"), "title": "疾病问答"})
    assert hashed.name == f"{slug('疾病问答')} (疾病问答)"
    assert source.model_copy(update={"title": "疾病问答"}).name == "epfl_guidelines"
