"""A trial counts every row once, shows the first records, goes on after a mistake and writes nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from typer.testing import CliRunner

from medpipe.catalog.source import Source, Status
from medpipe.cli import app
from medpipe.normalize.trial import TriedFile, try_source
from medpipe.records.kinds import Kind
from medpipe.settings import Settings
from medpipe_tests.normalize.sources import make_source

QA = {"layout": "question_answer"}
HEADACHE = {"question": "头痛怎么办？", "answer": "先测血压，再看是否发热。"}
FEVER = {"question": "发热怎么办？", "answer": "多饮水，体温≥38.5℃时就医。"}
UNANSWERED = {"question": "咳嗽怎么办？", "answer": ""}


def lines(*rows: Any) -> str:
    return "".join(
        f"{row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)}\n" for row in rows
    )


def tried(folder: Path, *files: str | dict[str, Any], **options: Any) -> list[TriedFile]:
    source = make_source(*files, layout=options.pop("layout", QA), folder=folder)
    return list(try_source(source, **options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "a.jsonl").write_text(lines(HEADACHE, UNANSWERED, "{no json", FEVER))
    (path / "b.jsonl").write_text(lines(FEVER))
    return path


def test_each_row_is_kept_or_rejected_with_its_reason(folder: Path) -> None:
    first, second = tried(folder, "*.jsonl")
    assert (first.path, first.kind, first.published, first.kept) == ("a.jsonl", Kind.CONVERSATION, 4, 2)
    assert first.rejected == {"empty_answer": 1, "broken_json": 1}
    assert (second.path, second.published, second.kept, second.rejected) == ("b.jsonl", 1, 1, {})
    assert first.adds_up
    assert second.adds_up
    assert not first.shown


def test_rows_lost_or_counted_twice_do_not_add_up() -> None:
    whole = TriedFile(
        source="a", path="a", status=Status.AVAILABLE, published=3, kept=2, rejected={"empty_text": 1}
    )
    assert whole.adds_up
    for kept in (1, 3):
        other = TriedFile(
            source="a", path="a", status=Status.AVAILABLE, published=3, kept=kept, rejected=whole.rejected
        )
        assert not other.adds_up


def test_the_first_records_and_rejected_rows_are_shown(folder: Path) -> None:
    first, second = tried(folder, "*.jsonl", show=3)
    assert [record["row"] for record in first.shown] == [0, 3]
    assert first.shown[0]["turns"] == [
        {"role": "user", "content": HEADACHE["question"]},
        {"role": "assistant", "content": HEADACHE["answer"]},
    ]
    assert [(row["row"], row["reason"]) for row in first.shown_rejected] == [
        (1, "empty_answer"),
        (2, "broken_json"),
    ]
    assert first.shown_rejected[1]["raw"] == "{no json"
    assert [record["row"] for record in second.shown] == [0], "three records of the source in all"
    assert len(tried(folder, "*.jsonl", show=1)[0].shown) == 1


def test_a_row_of_several_records_counts_once(tmp_path: Path) -> None:
    row = {"question": "头痛怎么办？", "output": ["先测血压。", "多休息。", "不知道。"]}
    (tmp_path / "a.jsonl").write_text(lines(row))
    (only,) = tried(tmp_path, "a.jsonl", layout={"layout": "preference", "ranked": "output"}, show=2)
    assert (only.published, only.kept, only.records) == (1, 1, 3)
    assert [(record["row"], record["part"]) for record in only.shown] == [(0, 0), (0, 1)]


def test_counts_of_the_catalog_are_compared(folder: Path) -> None:
    def entry(path: str, rows: int) -> dict[str, Any]:
        return {"path": path, "domain": "disease", "published_rows": rows, "note": "as counted"}

    right, wrong = tried(folder, entry("a.jsonl", 4), entry("b.jsonl", 3))
    assert (right.count_differs, wrong.count_differs) == (False, True)
    assert (wrong.expected, wrong.counted, wrong.note) == (3, 1, "as counted")
    first, last = tried(folder, entry("*.jsonl", 5))
    assert (first.expected, last.expected, last.counted) == (None, 5, 5), "a pattern's files count together"
    assert not last.count_differs
    assert tried(folder, entry("*.jsonl", 6))[-1].count_differs


def test_fewer_rows_are_read_where_they_are_enough(folder: Path) -> None:
    file = {"path": "a.jsonl", "domain": "disease", "published_rows": 4}
    (only,) = tried(folder, file, max_rows=2)
    assert (only.published, only.kept, only.expected) == (2, 1, None)
    (only,) = tried(folder, file | {"max_rows": 1}, max_rows=2)
    assert only.published == 1, "the catalog's own limit stays"


def test_a_file_that_cannot_be_read_does_not_stop_the_next(folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(lines(HEADACHE).encode("utf-16"))
    first, second = tried(folder, "*.jsonl")
    assert first.error is not None
    assert "a.jsonl" in first.error
    assert (first.published, first.kept) == (0, 0)
    assert second.error is None
    assert second.kept == 1


@pytest.mark.parametrize(
    ("files", "folder_name", "named"),
    [("*.csv", "data", "*.csv"), ("*.jsonl", "nowhere", "nowhere")],
)
def test_an_entry_without_files_says_what_to_correct(
    tmp_path: Path, folder: Path, files: str, folder_name: str, named: str
) -> None:
    (only,) = tried(tmp_path / folder_name, files)
    assert only.path == files
    assert only.error is not None
    assert named in only.error


def test_files_that_are_not_to_be_read_are_named_with_the_reason(folder: Path) -> None:
    source = make_source(
        "*.jsonl", layout=QA, folder=folder, status="excluded", status_note="answers are links"
    )
    found = list(try_source(source, show=1))
    assert [(each.path, each.status, each.note) for each in found] == [
        ("a.jsonl", Status.EXCLUDED, "answers are links"),
        ("b.jsonl", Status.EXCLUDED, "answers are links"),
    ]
    assert all(each.kind is None and each.published == 0 and each.adds_up for each in found)
    listed = Source.model_validate(
        source.model_dump() | {"status": "listed", "folder": None, "repository": "owner/name", "layout": None}
    )
    (only,) = try_source(listed)
    assert (only.path, only.status) == ("*.jsonl", Status.LISTED)


def test_an_entry_of_the_hub_needs_local_files(folder: Path) -> None:
    there = Settings(hub=folder.parent)
    source = make_source("*.jsonl", layout=QA, folder=None, repository="owner/data")
    (only,) = try_source(source, settings=Settings())
    assert only.error is None
    assert "MEDPIPE_HUB" in (only.note or "")
    (only,) = try_source(source, settings=there)
    assert "owner/data" in (only.error or "")
    (folder.parent / "owner").mkdir()
    folder.rename(folder.parent / "owner" / "data")
    assert [each.kept for each in try_source(source, settings=there)] == [2, 1]


def test_a_split_that_may_be_missing_is_named(folder: Path) -> None:
    found = tried(folder, "a.jsonl", {"path": "test.jsonl", "domain": "disease", "split": "test"})
    assert [(each.path, each.kind, each.error) for each in found] == [
        ("a.jsonl", Kind.CONVERSATION, None),
        ("test.jsonl", None, None),
    ]
    assert found[1].note is not None


def test_members_of_an_archive_are_files_of_their_own(folder: Path) -> None:
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("内科/a.jsonl", lines(HEADACHE, FEVER))
        archive.writestr("内科/b.jsonl", lines(UNANSWERED))
    found = tried(folder, {"path": "more.zip", "domain": "disease", "published_rows": 3})
    assert [(each.path, each.kept) for each in found] == [
        ("more.zip/内科/a.jsonl", 2),
        ("more.zip/内科/b.jsonl", 0),
    ]
    assert (found[-1].expected, found[-1].counted) == (3, 3)


def test_progress_names_source_and_file(folder: Path) -> None:
    said: list[str] = []
    tried(folder, "*.jsonl", progress=said.append)
    assert any("a_source" in line and "a.jsonl" in line for line in said)


def test_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.parent.rglob("*"))
    tried(folder, "*.jsonl", show=2)
    assert sorted(folder.parent.rglob("*")) == before


ROWS = st.lists(
    st.sampled_from([HEADACHE, FEVER, UNANSWERED, {"question": None}, ["no", "object"], "{broken", 7])
    | st.dictionaries(st.sampled_from(["question", "answer", "other"]), st.text(max_size=5) | st.none()),
    min_size=1,
    max_size=30,
)


@limits(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_published_is_kept_plus_rejected(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a.jsonl").write_text(lines(*rows))
    (only,) = tried(folder, "a.jsonl", show=100)
    assert only.published == len(rows)
    assert only.adds_up
    assert only.kept == len({record["row"] for record in only.shown})
    assert sum(only.rejected.values()) == len(only.shown_rejected)


CATALOG = """
sources:
  - id: my_questions
    title: My questions
    description: Questions of patients.
    folder: data
    files: [{path: "*.jsonl", domain: dialogue, published_rows: 5, note: "[1] of the ward"}]
    layout: {layout: question_answer}
    language: zh
    licence: {name: null}
    uses: [finetuning]
"""


@pytest.fixture
def catalog(tmp_path: Path, folder: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(CATALOG)
    return path


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["sources", "try", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_command_shows_records_and_a_table(catalog: Path) -> None:
    status, output = run(catalog, "--show", "2")
    assert status == 0
    assert f"user: {HEADACHE['question']}" in output
    assert f"assistant: {HEADACHE['answer']}" in output
    assert "row 1: rejected: empty_answer" in output
    assert "[1] of the ward" in output
    assert "5 rows: 3 kept, 2 rejected" in output


def test_the_command_gives_the_same_facts_as_json(catalog: Path) -> None:
    status, output = run(catalog, "--json", "--show", "1")
    assert status == 0
    first, second = json.loads(output)
    assert (first["file"], first["published"], first["kept"]) == ("a.jsonl", 4, 2)
    assert first["rejected"] == {"empty_answer": 1, "broken_json": 1}
    assert first["shown"][0]["turns"][0]["content"] == HEADACHE["question"]
    assert (second["expected"], second["counted"]) == (5, 5)


def test_the_command_fails_where_a_file_cannot_be_read(catalog: Path, folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(lines(HEADACHE).encode("utf-16"))
    status, output = run(catalog)
    assert status == 1
    assert "UTF-16" in output
    assert "1 with a mistake" in output
    assert "1 row: 1 kept" in output, "the other file is read"


def test_the_command_takes_entries_by_id_and_a_folder(catalog: Path) -> None:
    assert run(catalog.parent, "--source", "my_questions", "--limit", "1")[0] == 0
    status, output = run(catalog, "--source", "your_questions")
    assert status == 1
    assert "'your_questions'" in output
    assert "my_questions" in output


def test_the_command_reads_a_registry_of_data_sets(folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps([{"instruction": "头痛怎么办？", "output": "先测血压。"}]))
    (folder / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "a.json"}}))
    status, output = run(folder / "dataset_info.json", "--show", "1")
    assert status == 0
    assert "assistant: 先测血压。" in output


def test_a_long_text_is_cut_where_it_is_shown(catalog: Path, folder: Path) -> None:
    (folder / "a.jsonl").write_text(lines({"question": "头痛怎么办？", "answer": "休息。" * 1_000}))
    _, output = run(catalog, "--show", "1")
    assert "and 2,000 more characters" in output
