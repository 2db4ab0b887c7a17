"""`medpipe sources …`: tables for a person, the same facts as JSON, and errors that name the fix."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medpipe.catalog.slug import slug
from medpipe.cli import app
from medpipe_tests.catalog.test_load import ENTRY
from medpipe_tests.ingest.hub_server import free_port
from medpipe_tests.ingest.search_server import SearchServer, serve_search

OWN = """
sources:
  - id: own_notes
    title: Own notes
    description: Notes of one ward.
    folder: records
    files: [{path: "*.jsonl", domain: disease, published_rows: 12}]
    layout: {layout: text}
    language: zh
    licence: {name: cc-by-4.0}
    uses: [pretraining]
    size_bytes: 1530000000
  - id: gated_notes
    title: Gated [notes]
    description: Notes behind an agreement.
    repository: owner/gated
    files: [{path: "*.jsonl", domain: disease}]
    layout: {layout: text}
    language: en
    licence: {name: null}
    gated: true
    uses: [evaluation]
    enabled: false
  - id: fetched_by_hand
    title: Fetched by hand
    description: From a page with a form.
    page: https://example.org/form
    files: [{path: "train/*.jsonl", domain: dialogue}, {path: test.jsonl, domain: dialogue, split: test}]
    layout: {layout: question_answer}
    language: zh
    licence: {name: null}
    genre: exam
    uses: [finetuning, pretraining]
    status: manual
  - id: only_listed
    title: Only listed
    description: Nobody found it.
    language: other
    licence: {name: null}
    status: listed
    status_note: the page is gone
  - id: left_out
    title: Left out
    description: Answers are links.
    language: zh
    licence: {name: null}
    status: excluded
    status_note: answers are links
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with entries of its own, and nothing of the environment of whoever runs the tests."""
    folder = tmp_path / "own"
    (folder / "records").mkdir(parents=True)
    (folder / "catalog.yaml").write_text(OWN)
    for name in ("MEDPIPE_HUB", "MEDPIPE_LAKE", "HF_ENDPOINT", "HF_TOKEN", "MEDPIPE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDPIPE_SOURCES", str(folder))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def medpipe(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["sources", *arguments], env=environment)
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def facts(*arguments: str, **environment: str) -> Any:
    status, output = medpipe(*arguments, "--json", **environment)
    assert status == 0, output
    return json.loads(output)


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_the_catalog_is_listed_with_licence_use_size_and_state(home: Path, columns: int) -> None:
    status, output = medpipe("--match", "_notes", COLUMNS=str(columns))
    assert status == 0
    lines = output.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].split() == ["source", "licence", "used", "for", "size", "state"]
    row = next(line for line in lines if line.startswith("own_notes"))
    assert row.split() == ["own_notes", "cc-by-4.0", "pretraining", "1.5", "GB", "enabled"]
    assert lines[lines.index(row) + 1].strip() == "disease, zh"
    assert "2 of" in lines[-2] and "1 enabled" in lines[-2] and "1 gated" in lines[-2]


def test_the_whole_catalog_stays_readable(home: Path) -> None:
    status, output = medpipe(COLUMNS="80")
    ids = [entry["id"] for entry in facts()]
    assert status == 0 and len(ids) > 20 and max(map(len, output.splitlines())) <= 80
    assert all(any(line.startswith(f"{name} ") for line in output.splitlines()) for name in ids)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--state", "enabled"], {"own_notes"}),
        (["--state", "gated"], {"gated_notes"}),
        (["--state", "manual"], {"fetched_by_hand"}),
        (["--state", "listed"], {"only_listed"}),
        (["--state", "excluded"], {"left_out"}),
        (["--language", "en"], {"gated_notes"}),
        (["--use", "evaluation"], {"gated_notes"}),
        (["--match", "NOTES", "--use", "pretraining"], {"own_notes"}),
    ],
)
def test_conditions_choose_the_same_sources_for_both_forms(
    home: Path, options: list[str], found: set[str]
) -> None:
    own = {"own_notes", "gated_notes", "fetched_by_hand", "only_listed", "left_out"}
    assert {entry["id"] for entry in facts(*options)} & own == found
    _, output = medpipe(*options)
    assert {line.split()[0] for line in output.splitlines() if line.split()} & own == found


def test_no_source_like_that_and_no_such_state(home: Path) -> None:
    assert medpipe("--match", "nothing like it") == (0, "No source is like that; leave out a condition.\n")
    status, output = medpipe("--state", "sleeping")
    assert status == 2 and "sleeping" in output


def test_a_source_is_shown_for_a_person_and_as_facts(home: Path) -> None:
    status, output = medpipe("show", "gated_notes")
    assert status == 0
    shown = " ".join(output.split())
    for fact in (
        "gated_notes Gated [notes]",
        "Notes behind an agreement.",
        "state available, gated",
        "page https://huggingface.co/datasets/owner/gated",
        "repository owner/gated at main",
        "licence not stated (not read at the publisher's page)",
        "used for evaluation",
        "records document, from the layout 'text'",
    ):
        assert fact in shown
    entry = facts("show", "gated_notes")
    assert (entry["repository"], entry["state"], entry["enabled"]) == (
        "owner/gated",
        ["available", "gated"],
        False,
    )
    assert facts("show", "own_notes")["state"] == ["enabled"]


def test_a_doubtful_use_is_warned_of(home: Path) -> None:
    (warning,) = facts("show", "fetched_by_hand")["warnings"]
    _, output = medpipe("show", "fetched_by_hand", COLUMNS="300")
    assert warning in output
    folder = home / "copy" / "train"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text("")
    status, output = medpipe("enable", "fetched_by_hand", "--folder", str(folder.parent))
    assert status == 0 and warning in output


def test_a_source_that_a_person_fetched_is_enabled_in_its_folder(home: Path) -> None:
    status, output = medpipe("enable", "fetched_by_hand")
    assert status == 1 and "https://example.org/form" in output and "--folder DIR" in output
    status, output = medpipe("enable", "fetched_by_hand", "--folder", str(home / "nowhere"))
    assert status == 1 and "nowhere is not there" in output
    (home / "empty").mkdir()
    status, output = medpipe("enable", "fetched_by_hand", "--folder", str(home / "empty"))
    assert status == 1 and "matches 'train/*.jsonl'" in output
    assert facts("show", "fetched_by_hand")["state"] == ["manual"]

    folder = home / "copy" / "train"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"question": "咳嗽怎么办？", "answer": "多喝水。"}\n')
    status, output = medpipe("enable", "fetched_by_hand", "--folder", str(folder.parent))
    assert status == 0 and output.startswith("fetched_by_hand is enabled\n")
    entry = facts("show", "fetched_by_hand")
    assert (entry["state"], entry["folder"], entry["repository"]) == (["enabled"], str(folder.parent), None)

    assert medpipe("disable", "fetched_by_hand") == (0, "fetched_by_hand is disabled\n")
    assert facts("show", "fetched_by_hand")["state"] == ["manual"]


def test_a_gated_source_needs_the_terms_and_a_token(home: Path) -> None:
    status, output = medpipe("enable", "gated_notes")
    assert status == 1 and "--accept-terms" in output
    status, output = medpipe("enable", "gated_notes", "--accept-terms")
    assert status == 1 and "set HF_TOKEN" in output
    assert not facts("show", "gated_notes")["accept_terms"]
    status, output = medpipe("enable", "gated_notes", "--accept-terms", HF_TOKEN="hf_secret")
    assert (status, output) == (0, "gated_notes is enabled\n")
    assert facts("show", "gated_notes")["state"] == ["enabled", "gated"]


def test_a_gated_source_in_an_own_copy_needs_the_terms_only(home: Path) -> None:
    (home / "copy").mkdir()
    (home / "copy" / "a.jsonl").write_text("")
    status, output = medpipe("enable", "gated_notes", "--folder", str(home / "copy"))
    assert status == 1 and "--accept-terms" in output and "HF_TOKEN" not in output
    status, _ = medpipe("enable", "gated_notes", "--folder", str(home / "copy"), "--accept-terms")
    assert status == 0


@pytest.mark.parametrize(
    ("source", "note"), [("only_listed", "the page is gone"), ("left_out", "answers are links")]
)
def test_what_cannot_be_fetched_cannot_be_enabled(home: Path, source: str, note: str) -> None:
    (home / "copy").mkdir()
    for options in ([], ["--folder", str(home / "copy"), "--accept-terms", "--accept-size"]):
        status, output = medpipe("enable", source, *options)
        assert status == 1 and note in output
    assert facts("show", source)["enabled"] is False


def test_a_right_catalog_is_told_with_what_is_only_listed(home: Path) -> None:
    status, output = medpipe("check", str(home / "own"))
    assert status == 0
    assert "only_listed: listed – the page is gone" in output
    assert output.splitlines()[-1] == f"5 entries in {home / 'own' / 'catalog.yaml'}, no mistake"
    checked = facts("check", str(home / "own" / "catalog.yaml"))
    assert [entry["id"] for entry in checked["entries"]][:2] == ["own_notes", "gated_notes"]
    assert checked["mistakes"] == []


def test_every_mistake_is_told_with_its_line(home: Path) -> None:
    wrong = home / "wrong"
    (wrong / "records").mkdir(parents=True)
    (wrong / "a.yaml").write_text(ENTRY.replace("language:", "langauge:").replace("disease", "diseases"))
    (wrong / "dataset_info.json").write_text('{\n"mine": {\n"file_nam": "x"}}')
    status, output = medpipe("check", str(wrong), COLUMNS="40")
    assert status == 1
    assert output.splitlines() == [
        f"{wrong}/a.yaml:7: 'mine': files.0.domain: 'diseases' is not known; did you mean 'disease'?",
        f"{wrong}/a.yaml:10: 'mine': unknown field 'langauge'; did you mean 'language'?",
        f"{wrong}/dataset_info.json:3: 'mine': unknown field 'file_nam'; did you mean 'file_name'?",
        "3 to correct in 2 files",
    ]
    status, output = medpipe("check", str(wrong), "--json")
    assert status == 1
    assert [(mistake["line"], mistake["entry"]) for mistake in json.loads(output)["mistakes"]] == [
        (7, "mine"),
        (10, "mine"),
        (3, "mine"),
    ]


def test_a_registry_of_any_name_is_checked(home: Path) -> None:
    registry = home / "mine.json"
    registry.write_text('{"问诊集": {"ms_hub_url": "a/b"}}')
    status, output = medpipe("check", str(registry))
    assert status == 0 and "listed – 'a/b' is on ModelScope" in output


def test_an_id_of_a_built_in_source_is_a_mistake_but_not_in_its_own_file(home: Path) -> None:
    from medpipe.catalog.load import builtin_folder

    own = home / "b.yaml"
    own.write_text(ENTRY.replace("id: mine", "id: epfl_guidelines"))
    status, output = medpipe("check", str(own))
    assert status == 1 and "b.yaml:3: 'epfl_guidelines': the id 'epfl_guidelines' is taken" in output
    assert medpipe("check", str(builtin_folder()))[0] == 0


def test_nothing_to_check_is_told(home: Path) -> None:
    (home / "bare").mkdir()
    status, output = medpipe("check", str(home / "bare"))
    assert status == 1 and "has no catalog file: expected *.yaml" in output
    status, output = medpipe("check", str(home / "nowhere.yaml"))
    assert status == 1 and "nowhere.yaml is not there; give a catalog file" in output


@pytest.fixture
def server(home: Path) -> Iterator[SearchServer]:
    with serve_search() as running:
        yield running


def test_the_hub_is_searched_and_the_catalog_compared(server: SearchServer) -> None:
    """Against a recorded answer: see `search_server`."""
    status, output = medpipe("search", "medical", COLUMNS="100", HF_ENDPOINT=server.address)
    assert status == 0
    lines = output.splitlines()
    assert lines[0].split() == [
        "data",
        "set",
        "downloads",
        "likes",
        "licence",
        "size",
        "gated",
        "in",
        "the",
        "catalog",
    ]
    gated = next(line for line in lines if line.startswith("ward-seven/medical-notes"))
    assert gated.split()[1:] == ["77", "12", "other", "–", "manual", "no"]
    rows = facts("search", "medical", "--limit", "3", HF_ENDPOINT=server.address)
    assert [row["id"] for row in rows] == [
        "shibing624/medical",
        "ward-seven/medical-notes",
        "nobody/medical-scraps",
    ]
    assert {"shibing624_medical_pretrain", "shibing624_medical_reward"} <= set(rows[0]["in_catalog"])
    assert rows[0]["licence"] == "apache-2.0" and rows[1]["in_catalog"] == []


def test_a_search_that_finds_nothing_or_nobody(server: SearchServer) -> None:
    server.body = b"[]"
    assert medpipe("search", "[x]", HF_ENDPOINT=server.address) == (
        0,
        "The hub has no data set with '[x]' in its name.\n",
    )
    server.every_status = 401
    status, output = medpipe("search", "medical", HF_ENDPOINT=server.address)
    assert status == 1 and output.startswith("medpipe: ") and output.endswith("set HF_TOKEN\n")
    assert medpipe("search", "medical", "--limit", "0")[0] == 2


@pytest.mark.slow
def test_a_search_without_a_network_names_the_fix(home: Path) -> None:
    status, output = medpipe("search", "medical", HF_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert status == 1 and "no network to 127.0.0.1" in output and "HF_ENDPOINT" in output


def test_unknown_commands_are_usage_errors(home: Path) -> None:
    assert medpipe("no-such-command")[0] == 2
    status, output = medpipe("show", "no_such_source")
    assert (
        status == 1
        and output == "medpipe: no source 'no_such_source' in the catalog; `medpipe sources` lists them\n"
    )


def test_a_folder_that_is_not_there_is_a_mistake_of_check_and_nothing_else(home: Path) -> None:
    (home / "own" / "records").rmdir()
    status, output = medpipe("check", str(home / "own"))
    assert status == 1
    assert output.splitlines()[0] == (
        f"{home}/own/catalog.yaml:6: 'own_notes': folder: {home}/own/records is not there; correct it "
        "(it is relative to this file)"
    )
    assert medpipe("show", "own_notes")[0] == 0
    status, output = medpipe("try", str(home / "own"), "--source", "only_listed")
    assert status == 0


def test_a_folder_is_looked_through_only_where_the_entry_points(home: Path) -> None:
    """A link out of the folder that no pattern means is nobody's business."""
    copy = home / "copy"
    (copy / "train").mkdir(parents=True)
    (home / "elsewhere").mkdir()
    (copy / "unrelated").symlink_to(home / "elsewhere")
    (copy / "lost.txt").symlink_to(home / "nothing")
    status, output = medpipe("enable", "fetched_by_hand", "--folder", str(copy))
    assert status == 1 and "matches 'train/*.jsonl'" in output and "leads out" not in output
    (copy / "train" / "a.jsonl").write_text("")
    status, output = medpipe("enable", "fetched_by_hand", "--folder", str(copy))
    assert status == 0, output


def test_a_wrong_folder_is_told_with_all_that_lies_in_it(home: Path) -> None:
    (home / "copy" / "deep").mkdir(parents=True)
    (home / "copy" / "deep" / "other.jsonl").write_text("")
    status, output = medpipe("enable", "fetched_by_hand", "--folder", str(home / "copy"))
    assert status == 1 and "There is: deep/other.jsonl" in output


@pytest.mark.parametrize(("name", "problem"), [("nowhere", "is not there"), ("file", "is no folder")])
def test_the_folder_that_was_given_is_what_is_wrong(home: Path, name: str, problem: str) -> None:
    (home / "file").write_text("")
    for source in ("gated_notes", "fetched_by_hand", "own_notes"):
        assert medpipe("enable", source, "--folder", str(home / name)) == (
            1,
            f"medpipe: {home / name} {problem}; give --folder the folder that holds the files\n",
        )


def test_a_refusal_names_every_option_that_is_needed(home: Path) -> None:
    catalog = home / "own" / "catalog.yaml"
    catalog.write_text(OWN.replace("status: manual", "status: manual\n    gated: true"))
    (home / "copy").mkdir()
    command = "`medpipe sources enable fetched_by_hand --folder DIR --accept-terms`"
    for options in ([], ["--accept-terms"], ["--folder", str(home / "copy")]):
        status, output = medpipe("enable", "fetched_by_hand", *options)
        assert status == 1 and command in output


def test_disabling_forgets_what_was_accepted(home: Path) -> None:
    assert medpipe("enable", "gated_notes", "--accept-terms", "--accept-size", HF_TOKEN="hf_secret")[0] == 0
    assert medpipe("disable", "gated_notes")[0] == 0
    entry = facts("show", "gated_notes")
    assert (entry["enabled"], entry["accept_terms"], entry["accept_size"]) == (False, False, False)
    assert medpipe("enable", "gated_notes", HF_TOKEN="hf_secret")[0] == 1


def test_a_data_set_of_a_chinese_name_is_named_and_found_by_it(home: Path) -> None:
    """Its id is only a hash."""
    name, source_id = "问诊集", slug("问诊集")
    (home / "own" / "a.json").write_text('[{"instruction": "咳嗽怎么办？", "output": "多喝水，注意休息。"}]')
    registry = home / "own" / "dataset_info.json"
    registry.write_text(json.dumps({name: {"file_name": "a.json"}}))
    _, output = medpipe("--match", name)
    lines = output.splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith(source_id))
    assert lines[row + 1].strip().startswith(name)
    _, output = medpipe("check", str(registry))
    assert output.startswith(f"{source_id} ({name}): available")
    status, output = medpipe("try", str(registry), "--source", name, "--show", "1", COLUMNS="200")
    assert status == 0 and f"{source_id} ({name}): a.json, row 0" in output
    assert f"{source_id} ({name}), conversation" in output
    assert "1 file, 1 row: 1 kept, 0 rejected; records: 1 conversation\n" in output
    assert facts("show", name)["id"] == source_id
    assert medpipe("disable", name) == (0, f"{source_id} is disabled\n")
    assert medpipe("enable", name)[1].startswith(f"{source_id} is enabled\n")
