"""Revisions that are held back until a person accepts them: from a real hub server and from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.ingest.errors import FetchError
from medpipe.ingest.first_rows import Column, _differences
from medpipe.ingest.held import accept, accepted, read_held
from medpipe.ingest.revisions import locked_commit
from medpipe.ingest.snapshot import FetchedSnapshot, fetch
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe.settings import RefreshSettings
from medpipe_tests.ingest.hub_server import GitRepository, serve_hub
from medpipe_tests.ingest.sources import REPOSITORY, make_settings, make_source

ROWS: list[dict[str, Any]] = [{"text": f"row {n}", "label": n} for n in range(100)]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def card(licence: str) -> bytes:
    return f"---\nlicense: {licence}\n---\n# Notes\n".encode()


class Folder:
    """A folder hub with one repository."""

    def __init__(self, home: Path) -> None:
        self.home, self.lake = home, Lake(home / "lake")
        self.place = home / "hub" / REPOSITORY
        self.place.mkdir(parents=True)
        self.write("train.jsonl", lines(ROWS))
        self.write("README.md", card("mit"))

    def write(self, name: str, content: bytes) -> None:
        (self.place / name).write_bytes(content)

    def fetch(self, *, refresh: dict[str, Any] | None = None, **arguments: Any) -> FetchedSnapshot:
        fields = arguments.pop("entry", {})
        settings = make_settings(self.home, hub=self.home / "hub", refresh=RefreshSettings(**(refresh or {})))
        source = make_source("train.jsonl", **fields)
        return fetch(source, lake=self.lake, settings=settings, **arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train.jsonl", lines(ROWS[:70]), "2,079 bytes instead of 2,979|less"),
        (
            "train.jsonl",
            lines([{"text": r["text"], "tag": 10**5} for r in ROWS]),
            "'label' is gone, 'tag' is new",
        ),
        (
            "train.jsonl",
            lines([{**r, "label": [r["label"]]} for r in ROWS]),
            "'label' is list instead of number",
        ),
        ("train.jsonl", b"\xff\xfe" + "nothing".encode("utf-16-le") * 400, "cannot be read any more"),
    ],
    ids=["shrinks", "other columns", "other kind", "unreadable"],
)
def test_what_is_held_back(folder: Folder, name: str, content: bytes, reason: str) -> None:
    good = folder.fetch()
    folder.write(name, content)
    found = folder.fetch()
    assert found.revision == good.revision == current(folder.lake, "raw", "clinic_notes").digest
    held = found.held
    assert held is not None and found.newly_held and held.current == good.revision
    assert any(word in held.message for word in reason.split("|")), held.message
    # By name: who reads this means this revision, and not a later one that takes its place.
    assert f"medpipe sources accept clinic_notes --revision {held.revision}" in held.message
    assert f"accept_revision: {held.revision}" in held.message
    again = folder.fetch()
    assert (again.held, again.newly_held, again.revision) == (held, False, good.revision)
    assert folder.lake.dataset("raw", "clinic_notes", digest=held.revision).is_dir(), (
        "it lies there to be looked at"
    )


def test_a_licence_by_card_or_catalog_is_held_back_with_new_files_only(folder: Folder) -> None:
    good = folder.fetch()
    folder.write("README.md", card("cc-by-nc-4.0"))
    assert folder.fetch().revision == good.revision, "no file of the corpus changed"
    folder.write("train.jsonl", lines([*ROWS, *ROWS[:1]]))
    held = folder.fetch(entry={"licence": {"name": "apache-2.0"}}).held
    assert held is not None
    assert held.reasons == (
        "its publisher's card states the licence cc-by-nc-4.0 instead of mit",
        "the catalog states the licence apache-2.0 instead of mit",
    )


def test_growing_and_shrinking_a_little_pass_and_the_share_is_a_setting(folder: Folder) -> None:
    revisions = {folder.fetch().revision}
    for rows in (ROWS + ROWS[:5], ROWS[:90]):
        folder.write("train.jsonl", lines(rows))
        found = folder.fetch()
        assert found.held is None
        revisions.add(found.revision)
    folder.write("train.jsonl", lines(ROWS[:50]))
    found = folder.fetch(refresh={"max_shrink": 0.5})
    assert found.held is None and len({*revisions, found.revision}) == 4
    folder.write("train.jsonl", lines(ROWS[:49]))
    assert folder.fetch(refresh={"max_shrink": 0.0}).held is not None


def test_optional_columns_come_and_go(folder: Folder) -> None:
    folder.write("train.jsonl", lines([{**ROWS[0], "note": "x"}, *ROWS[1:]]))
    folder.fetch()
    folder.write("train.jsonl", lines([*ROWS[:-1], {**ROWS[-1], "remark": "y"}]))
    assert folder.fetch().held is None


def test_an_entry_that_a_person_changed_is_no_news(folder: Folder) -> None:
    folder.write("more.jsonl", lines(ROWS[:3]))
    folder.fetch()
    source = make_source("more.jsonl")
    settings = make_settings(folder.home, hub=folder.home / "hub")
    assert fetch(source, lake=folder.lake, settings=settings).held is None


@pytest.mark.parametrize("how", ["accept", "accept_revision", "before it is fetched"])
def test_acceptance_is_recorded_and_lets_it_through(folder: Folder, how: str) -> None:
    folder.fetch()
    folder.write("train.jsonl", lines(ROWS[:10]))
    if how == "before it is fetched":
        other = Folder(folder.home / "other")
        other.write("train.jsonl", lines(ROWS[:10]))
        name = other.fetch().revision
        found = folder.fetch(accept_revision=name, by="me")
    else:
        held = folder.fetch().held
        assert held is not None
        name = held.revision
        taken = {"accept": True} if how == "accept" else {"accept_revision": name}
        found = folder.fetch(**taken, by="me")
    assert (found.revision, found.held) == (name, None)
    assert read_held(folder.lake, "clinic_notes") is None
    (record,) = accepted(folder.lake, "clinic_notes")
    assert record["revision"] == name and record["by"] == "me" and record["at"]
    assert bool(record["reasons"]) is (how != "before it is fetched")
    # Back to the larger one and then again to the accepted one: nobody is asked twice for the same.
    folder.write("train.jsonl", lines(ROWS))
    folder.fetch()
    folder.write("train.jsonl", lines(ROWS[:10]))
    assert folder.fetch().revision == name


def test_nothing_to_accept(folder: Folder) -> None:
    folder.fetch()
    assert folder.fetch(accept=True).held is None
    assert accept(make_source("train.jsonl"), folder.lake, by="me") is None
    assert accepted(folder.lake, "clinic_notes") == []


@pytest.mark.parametrize("named", ["main", "folder-12345678", "../" + "0" * 37, "0" * 39])
def test_what_can_be_no_revision_is_not_accepted(folder: Folder, named: str) -> None:
    folder.fetch()
    with pytest.raises(FetchError, match="is no revision of clinic_notes: give the whole commit"):
        accept(make_source("train.jsonl"), folder.lake, by="me", revision=named)
    assert accepted(folder.lake, "clinic_notes") == []


def test_a_later_revision_is_not_accepted_in_the_place_of_the_one_that_was_meant(folder: Folder) -> None:
    good = folder.fetch()
    folder.write("train.jsonl", lines(ROWS[:50]))
    looked_at = folder.fetch().held
    folder.write("train.jsonl", lines(ROWS[:10]))
    later = folder.fetch().held
    assert looked_at is not None and later is not None and looked_at.revision != later.revision
    found = folder.fetch(accept_revision=looked_at.revision, by="me")
    assert (found.revision, found.held) == (good.revision, later)


def test_a_publisher_who_mends_it_needs_no_person(folder: Folder) -> None:
    folder.fetch()
    folder.write("train.jsonl", lines(ROWS[:10]))
    assert folder.fetch().held is not None
    folder.write("train.jsonl", lines(ROWS * 2))
    found = folder.fetch()
    assert found.held is None and read_held(folder.lake, "clinic_notes") is None


@given(st.dictionaries(st.text(max_size=3), st.builds(Column, share=st.floats(0.1, 1), kind=st.just("text"))))
def test_equal_columns_never_differ_and_each_missing_one_is_named(columns: dict[str, Column]) -> None:
    assert _differences(columns, columns) == []
    assert len(_differences(columns, {})) == len(_differences({}, columns)) == len(columns)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GitRepository, str]]:
    with serve_hub(tmp_path_factory.mktemp("hub")) as served:
        yield served


@pytest.mark.hub
@pytest.mark.timeout(120)
def test_from_the_hub_the_lock_stays_until_it_is_accepted(
    hub: tuple[GitRepository, str], tmp_path: Path
) -> None:
    repository, url = hub
    lake, settings = Lake(tmp_path / "lake"), make_settings(tmp_path, hf_endpoint=url)
    source = make_source("train.jsonl")

    def locked() -> str | None:
        return locked_commit(lake, repository=REPOSITORY, revision="main")

    first = repository.commit({"train.jsonl": lines(ROWS), "README.md": card("mit")})
    assert fetch(source, lake=lake, settings=settings).revision == first == locked()
    second = repository.commit({"train.jsonl": lines([*ROWS, *ROWS]), "README.md": card("other")})
    found = fetch(source, lake=lake, settings=settings, refresh=True)
    assert found.held is not None and found.held.revision == second
    assert found.held.reasons == ("its publisher's card states the licence other instead of mit",)
    assert (found.revision, locked()) == (first, first)
    # Without a question to the hub it goes on waiting, and is told.
    quiet = fetch(source, lake=lake, settings=settings)
    assert (quiet.revision, quiet.held, quiet.newly_held) == (first, found.held, False)
    # Another source of the repository may take the commit; this one does not follow it.
    other = make_source("train.jsonl", id="other")
    assert fetch(other, lake=lake, settings=settings, refresh=True).revision == second == locked()
    assert fetch(source, lake=lake, settings=settings).revision == first
    assert fetch(source, lake=lake, settings=settings, accept=True, by="me").revision == second
    assert fetch(source, lake=lake, settings=settings).reused and locked() == second
