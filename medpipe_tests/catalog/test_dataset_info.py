"""LLaMA-Factory's registry: every key of its loader, its defaults, and every mistake with its line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from medpipe.catalog.load import CatalogError, read_catalog_folder
from medpipe.catalog.selection import load_catalog
from medpipe.catalog.source import Source, Status, Use
from medpipe.records.kinds import Domain, Kind, Language, Split
from medpipe.settings import Settings
from medpipe_tests.shared_data import shared_data

LOCAL = {"file_name": "qa.json"}
REMOTE = {"hf_hub_url": "owner/name"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qa.json").write_text("[]")
    return tmp_path


def read(folder: Path, registry: dict[str, Any]) -> tuple[Source, ...]:
    text = json.dumps(registry, ensure_ascii=False, indent=1)
    (folder / "dataset_info.json").write_text(text, encoding="utf-8")
    return read_catalog_folder(folder)


def read_one(folder: Path, entry: dict[str, Any]) -> Source:
    (source,) = read(folder, {"set": entry})
    return source


def layout_of(source: Source) -> dict[str, Any]:
    """What the layout says beside its defaults."""
    return source.record_layout.model_dump(exclude_unset=True, exclude_none=True)


def test_alpaca_has_the_defaults_of_the_loader(folder: Path) -> None:
    source = read_one(folder, LOCAL)
    assert layout_of(source) == {
        "layout": "question_answer",
        "question": ("instruction", "input"),
        "answer": ("output",),
        "required": ("instruction", "output"),
    }
    assert source.kind is Kind.CONVERSATION and source.status is Status.AVAILABLE
    assert source.uses == (Use.FINETUNING, Use.PRETRAINING)
    assert (source.language, source.domains) == (Language.ZH, (Domain.DIALOGUE,))


def test_alpaca_columns_once_given_have_no_defaults(folder: Path) -> None:
    columns = {
        "prompt": "问",
        "response": "答",
        "history": "历史",
        "system": "设定",
        "kto_tag": "好",
        "query": "",
    }
    assert layout_of(read_one(folder, LOCAL | {"columns": columns})) == {
        "layout": "question_answer",
        "question": ("问",),
        "answer": ("答",),
        "required": ("问", "答"),
        "history": "历史",
        "system": "设定",
        "desirable": "好",
    }


def test_alpaca_without_a_response_is_text(folder: Path) -> None:
    source = read_one(folder, LOCAL | {"columns": {"prompt": "text", "response": "", "query": "more"}})
    assert layout_of(source) == {"layout": "text", "text": "text"}
    assert source.uses == (Use.PRETRAINING,)
    assert source.status_note is not None and "no 'response'" in source.status_note


def test_ranked_alpaca(folder: Path) -> None:
    columns = {
        "prompt": "q",
        "query": "more",
        "chosen": "good",
        "rejected": "bad",
        "history": "h",
        "system": "s",
    }
    source = read_one(folder, LOCAL | {"ranking": True, "columns": columns})
    assert layout_of(source) == {
        "layout": "preference",
        "prompt": ("q", "more"),
        "history": "h",
        "system": "s",
        "chosen": "good",
        "rejected": "bad",
    }
    assert source.kind is Kind.PREFERENCE and source.uses == (Use.REWARD,)


def test_ranked_alpaca_without_chosen_and_rejected_is_a_list_best_first(folder: Path) -> None:
    """The loader's default for both is that there are none; older registries rank `output`."""
    assert layout_of(read_one(folder, LOCAL | {"ranking": True})) == {
        "layout": "preference",
        "prompt": ("instruction", "input"),
        "ranked": ("output",),
    }


@pytest.mark.parametrize("formatting", ["sharegpt", "openai"])
def test_messages_have_the_defaults_of_the_loader(folder: Path, formatting: str) -> None:
    source = read_one(folder, LOCAL | {"formatting": formatting})
    assert layout_of(source) == {
        "layout": "turns",
        "turns": "conversations",
        "role": "from",
        "content": "value",
        "user": ("human",),
        "assistant": ("gpt",),
        "system": ("system",),
        "function": ("function_call",),
        "observation": ("observation",),
    }
    assert source.kind is Kind.CONVERSATION


def test_tags_once_given_have_no_defaults(folder: Path) -> None:
    source = read_one(
        folder,
        LOCAL
        | {
            "formatting": "openai",
            "columns": {
                "messages": "messages",
                "system": "system_prompt",
                "tools": "tools",
                "kto_tag": "label",
            },
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "bot",
            },
        },
    )
    assert layout_of(source) == {
        "layout": "turns",
        "turns": "messages",
        "role": "role",
        "content": "content",
        "user": ("user",),
        "assistant": ("bot",),
        "system": (),
        "function": (),
        "observation": (),
        "system_field": "system_prompt",
        "desirable": "label",
    }
    assert source.status_note == "tool descriptions are left out"


@pytest.mark.parametrize("formatting", ["sharegpt", "openai"])
def test_ranked_messages(folder: Path, formatting: str) -> None:
    columns = {"messages": "talk", "chosen": "good", "rejected": "bad", "system": "s"}
    source = read_one(folder, LOCAL | {"formatting": formatting, "ranking": True, "columns": columns})
    layout = layout_of(source)
    assert (layout["layout"], layout["chosen"], layout["rejected"]) == ("preference", "good", "bad")
    assert (layout["messages"]["turns"], layout["messages"]["system_field"]) == ("talk", "s")
    assert source.kind is Kind.PREFERENCE


def test_a_repository_with_subset_split_and_folder(folder: Path) -> None:
    assert read_one(folder, REMOTE).files[0].published_split == "train"
    source = read_one(
        folder, REMOTE | {"subset": "zh", "split": "test_sft", "folder": "chat/v2/", "num_samples": 50}
    )
    (file,) = source.files
    assert (source.repository, file.subset, file.published_split) == ("owner/name", "zh", "test_sft")
    assert (file.path, file.max_rows, file.split) == ("chat/v2/**", 50, Split.TEST)
    assert source.status_note == "the first 50 rows of each file, not a random sample"


@pytest.mark.parametrize(
    ("split", "kept_as"),
    [
        ("train", Split.TRAIN),
        ("train_sft", Split.TRAIN),
        ("full", Split.TRAIN),
        ("validation", Split.VALIDATION),
        ("valid", Split.VALIDATION),
        ("dev", Split.VALIDATION),
        ("eval_2", Split.VALIDATION),
        ("test", Split.TEST),
        ("testimonials", Split.TRAIN),
        ("devices", Split.TRAIN),
    ],
)
def test_what_a_publisher_held_out_is_held_out(folder: Path, split: str, kept_as: Split) -> None:
    assert read_one(folder, REMOTE | {"split": split}).files[0].split is kept_as


@pytest.mark.parametrize("split", ["train[:100]", "train+test"])
def test_a_part_of_a_split_is_only_listed(folder: Path, split: str) -> None:
    source = read_one(folder, REMOTE | {"split": split})
    assert source.status is Status.LISTED
    assert source.status_note is not None and "num_samples" in source.status_note


@pytest.mark.parametrize("key", ["ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"])
def test_what_medpipe_cannot_fetch_is_listed_with_what_to_do(folder: Path, key: str) -> None:
    source = read_one(folder, {key: "somewhere/else"})
    assert source.status is Status.LISTED
    note = source.status_note or ""
    assert "somewhere/else" in note and "'file_name'" in note


def test_the_first_of_several_places_counts_as_in_the_loader(folder: Path) -> None:
    places = {
        "hf_hub_url": "owner/name",
        "ms_hub_url": "ms",
        "om_hub_url": "om",
        "script_url": "script",
        "cloud_file_name": "cloud",
        "file_name": "qa.json",
    }
    wants = [("owner/name", None), *((None, f"'{name}'") for name in ("ms", "om", "script", "cloud"))]
    for repository, named in wants:
        source = read_one(folder, dict(reversed(places.items())))
        assert source.repository == repository
        assert named is None or (source.status_note or "").startswith(named)
        del places[next(iter(places))]
    assert read_one(folder, places).folder == folder


def test_a_name_without_an_owner_is_listed(folder: Path) -> None:
    source = read_one(folder, {"hf_hub_url": "wiki_qa"})
    assert source.status is Status.LISTED and "owner/name" in (source.status_note or "")


def test_a_file_with_its_hash_and_one_that_is_not_there(folder: Path) -> None:
    sha1 = hashlib.sha1(b"[]").hexdigest()
    source = read_one(folder, LOCAL | {"file_sha1": sha1.upper()})
    assert (source.folder, source.files[0].path, source.files[0].sha1) == (folder, "qa.json", sha1)
    gone = read_one(folder, {"file_name": "nowhere.json", "file_sha1": sha1})
    assert gone.status is Status.LISTED and f"there is no {folder}/nowhere.json" in (gone.status_note or "")


def test_a_folder_gives_all_its_files(folder: Path) -> None:
    (folder / "many [1]").mkdir()
    source = read_one(folder, {"file_name": "many [1]", "num_samples": 5})
    assert (source.folder, source.files[0].path) == (folder / "many [1]", "*")


@pytest.mark.parametrize("absolute", [True, False])
def test_a_file_elsewhere_is_found_as_the_loader_finds_it(tmp_path: Path, absolute: bool) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "other.jsonl").write_text("")
    name = str(tmp_path / "other.jsonl") if absolute else "../other.jsonl"
    source = read_one(tmp_path / "registry", {"file_name": name})
    assert (source.folder, source.files[0].path) == (tmp_path, "other.jsonl")


def test_media_are_left_out_and_said(folder: Path) -> None:
    columns = {"messages": "messages", "images": "i", "videos": "v", "audios": "a"}
    source = read_one(folder, LOCAL | {"formatting": "sharegpt", "columns": columns})
    assert source.status is Status.AVAILABLE
    assert source.status_note == "only the text is used: images, videos, audios are left out"


def test_the_extension_says_what_the_registry_has_no_key_for(folder: Path) -> None:
    extension = {"language": "en", "domain": "guideline", "licence": "cc-by-4.0", "uses": ["evaluation"]}
    source = read_one(folder, LOCAL | {"medpipe": extension})
    assert (source.language, source.domains) == (Language.EN, (Domain.GUIDELINE,))
    assert (source.licence.name, source.licence.verified) == ("cc-by-4.0", False)
    assert source.uses == (Use.EVALUATION,)


def test_names_of_any_script_and_names_that_are_taken_get_ids(folder: Path) -> None:
    sources = read(folder, {"疾病问答": LOCAL, "疾病问卷": LOCAL, "a b": LOCAL, "A-B": LOCAL})
    ids = [source.id for source in sources]
    assert len(set(ids)) == 4 and all(name.isascii() for name in ids) and ids[2] == "a_b"
    assert [source.title for source in sources] == ["疾病问答", "疾病问卷", "a b", "A-B"]
    # A registry is shared with another program, so a built-in source does not forbid its names.
    read(folder, {"epfl_guidelines": LOCAL})
    catalog = load_catalog(Settings(home=folder / "home", sources=folder))
    assert [s.id for s in catalog.sources if s.id.startswith("epfl_guidelines_")] != []


MISTAKES = [
    ({"file_nam": "qa.json"}, ("file_nam",), "unknown field 'file_nam'; did you mean 'file_name'?"),
    (
        {"columns": {"promt": "x"}},
        ("columns", "promt"),
        "unknown field 'columns.promt'; did you mean 'prompt'?",
    ),
    ({"tags": {"role": "x"}}, ("tags", "role"), "unknown field 'tags.role'; did you mean 'role_tag'?"),
    ({"role_tag": "role"}, ("role_tag",), "unknown field 'role_tag'; it belongs into 'tags'"),
    (
        {"formatting": "sharegtp"},
        ("formatting",),
        "formatting: 'sharegtp' is not known; did you mean 'sharegpt'?",
    ),
    (
        {"formatting": "parquet"},
        ("formatting",),
        "formatting: 'parquet' is not known; use one of alpaca, sharegpt, openai",
    ),
    ({"ranking": "maybe"}, ("ranking",), "ranking: 'maybe' is not true or false"),
    ({"num_samples": 0}, ("num_samples",), "num_samples: Input should be greater than or equal to 1"),
    ({"file_sha1": "abc"}, ("file_sha1",), "file_sha1: 'abc' is not allowed; give 40 hexadecimal digits"),
    ({"columns": ["a"]}, ("columns",), "columns: ['a'] is not a mapping of fields"),
    ({"file_name": 5}, ("file_name",), "file_name: 5 is not a text: put it in quotes"),
    ({"split": "test"}, ("split",), "a file has only the split 'train'; remove 'split'"),
    (
        {"columns": {"query": "q"}},
        ("columns",),
        "'columns' is given, and then nothing else has a default; add \"prompt\"",
    ),
    (
        {"formatting": "sharegpt", "columns": {"system": "s"}},
        ("columns",),
        "'columns' is given, and then nothing else has a default; add \"messages\"",
    ),
    (
        {"formatting": "openai", "tags": {"role_tag": "r", "content_tag": "c", "user_tag": "u"}},
        ("tags",),
        "'tags' is given, and then nothing else has a default; add \"assistant_tag\"",
    ),
    (
        {"columns": {"prompt": "p", "kto_tag": "k"}},
        ("columns", "kto_tag"),
        "'kto_tag' judges an answer; add \"response\"",
    ),
    (
        {"ranking": True, "columns": {"prompt": "p"}},
        ("ranking",),
        "'ranking' needs \"chosen\" and \"rejected\" in 'columns'",
    ),
    (
        {"ranking": True, "formatting": "sharegpt"},
        ("ranking",),
        "'ranking' needs \"chosen\" and \"rejected\" in 'columns'",
    ),
    (
        {"ranking": True, "columns": {"prompt": "p", "chosen": "c"}},
        ("columns", "chosen"),
        "'chosen' needs its counterpart; add \"rejected\"",
    ),
    (
        {"medpipe": {"language": "cn"}},
        ("medpipe", "language"),
        "medpipe.language: 'cn' is not known; use one of zh, en, other",
    ),
]


@pytest.mark.parametrize(("entry", "location", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place(
    folder: Path, entry: dict[str, Any], location: tuple[str, ...], message: str
) -> None:
    registry = {"right": LOCAL, "wrong": {**({} if "file_nam" in entry else LOCAL), **entry}}
    with pytest.raises(CatalogError) as caught:
        read(folder, registry)
    (mistake,) = caught.value.mistakes
    assert (mistake.entry, mistake.message) == ("wrong", message)
    written = (folder / "dataset_info.json").read_text().splitlines()
    assert mistake.line is not None and f'"{location[-1]}"' in written[mistake.line - 1]


def test_mistakes_of_several_entries_are_told_at_once(folder: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        read(
            folder,
            {"a": {"formatting": "sharegpt", "colums": {"system": "s"}, "num_samples": "x"}, "b": 3, "c": {}},
        )
    assert [(mistake.entry, mistake.line) for mistake in caught.value.mistakes] == [
        ("a", 2),
        ("a", 4),
        ("a", 4),
        ("a", 7),
        ("b", 9),
        ("c", 10),
    ]


def test_a_data_set_that_stands_twice_is_named(folder: Path) -> None:
    (folder / "dataset_info.json").write_text(
        '{"a": {"file_name": "qa.json"},\n"a": {"file_name": "qa.json"}}'
    )
    with pytest.raises(CatalogError, match=r"dataset_info.json:2: 'a' stands twice, first in line 1"):
        read_catalog_folder(folder)


def test_a_published_registry_of_36_data_sets_loads(tmp_path: Path) -> None:
    """With the files that are beside it, from both folders where they were published."""
    shutil.copy(shared_data("caregpt/dataset_info.json"), tmp_path)
    for name in ("multi_choice.json", "llama_sft.json"):
        shutil.copy(shared_data("llm-pretrain-finetune/data_sft") / name, tmp_path)
    catalog = load_catalog(Settings(home=tmp_path / "home", sources=tmp_path))
    own = {
        source.title: source
        for source in catalog.sources
        if source.description.endswith("dataset_info.json.")
    }
    assert len(own) == 36
    assert sum(source.status is Status.AVAILABLE for source in own.values()) == 15 + 2
    assert layout_of(own["ls"])["question"] == ("text",) and layout_of(own["ls"])["answer"] == ("answer",)
    assert own["wiki_demo"].record_layout.layout == "text"
    assert own["belle_1m"].repository == "BelleGroup/train_1M_CN"
    assert "loading script" in (own["hh_rlhf_en"].status_note or "")
