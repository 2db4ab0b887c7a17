"""Snapshots from folders, the lock of revisions, and what both refuse."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from medpipe.catalog.selection import Choice, with_choice
from medpipe.ingest.choice import lookup_files
from medpipe.ingest.errors import FetchError
from medpipe.ingest.patterns import path_matches
from medpipe.ingest.readers import matching_files
from medpipe.ingest.revisions import lock_commit, locked_commit
from medpipe.ingest.snapshot import FetchedSnapshot, fetch
from medpipe.lake.dataset import current, find_current
from medpipe.lake.files import DiskFullError
from medpipe.lake.layout import Lake
from medpipe_tests.ingest.sources import REPOSITORY, make_settings, make_source

FILES = {
    "train.jsonl": '{"text": "头痛"}\n',
    "more/a.jsonl": '{"text": "咳嗽"}\n',
    "more/b.jsonl": '{"text": "发热"}\n',
    "README.md": "notes",
    ".git/config": "x",
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "hub" / REPOSITORY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "hub"


class Fetcher:
    """`fetch` from one folder hub into one lake."""

    def __init__(self, lake: Lake, hub: Path) -> None:
        self.lake = lake
        self.settings = make_settings(hub.parent, hub=hub)

    def __call__(self, *files: dict[str, Any] | str, force: bool = False, **fields: Any) -> FetchedSnapshot:
        source = make_source(*files, **fields)
        return fetch(source, lake=self.lake, settings=self.settings, force=force)


@pytest.fixture
def fetcher(lake: Lake, hub: Path) -> Fetcher:
    return Fetcher(lake, hub)


def contents(snapshot: FetchedSnapshot) -> dict[str, str]:
    return {file.path: (snapshot.path / file.path).read_text() for file in snapshot.dataset.manifest.files}


def test_folder_hub(fetcher: Fetcher, lake: Lake) -> None:
    snapshot = fetcher("train.jsonl", "more/*.jsonl")
    assert not snapshot.reused
    assert snapshot.path == lake.root / "raw" / "clinic_notes" / snapshot.revision
    assert contents(snapshot) == {name: FILES[name] for name in FILES if name.endswith(".jsonl")}
    manifest = snapshot.dataset.manifest
    assert manifest.digest == snapshot.revision
    assert manifest.recipe.inputs == {"revision": snapshot.revision}
    assert manifest.facts == {
        "repository": REPOSITORY,
        "asked": "main",
        "revision": snapshot.revision,
        "origin": "folder",
        "files": {"train.jsonl": ["train.jsonl"], "more/*.jsonl": ["more/a.jsonl", "more/b.jsonl"]},
        "resolved": [],
        "missing": [],
        "licence": {"card": None, "catalog": "mit"},
    }
    assert current(lake, "raw", "clinic_notes").path == snapshot.path
    assert [path.name for path in matching_files(snapshot.path, "**/*.jsonl")] == [
        "a.jsonl",
        "b.jsonl",
        "train.jsonl",
    ]
    assert not lake.sources_lock.exists()


def test_unchanged_files_are_reused_and_changed_ones_are_not(fetcher: Fetcher, hub: Path) -> None:
    first = fetcher("train.jsonl")
    assert first.revision.startswith("folder-")
    assert len(first.revision) == len("folder-") + 32
    (hub / REPOSITORY / "README.md").write_text("a file that is not meant")
    again = fetcher("train.jsonl")
    assert (again.revision, again.reused) == (first.revision, True)
    (hub / REPOSITORY / "train.jsonl").write_text(FILES["train.jsonl"] + "\n")
    changed = fetcher("train.jsonl")
    assert changed.revision != first.revision
    assert not changed.reused
    assert contents(first) == {"train.jsonl": FILES["train.jsonl"]}
    (hub / REPOSITORY / "train.jsonl").write_text(FILES["train.jsonl"])
    back = fetcher("train.jsonl")
    assert (back.revision, back.reused) == (first.revision, True)
    assert current(fetcher.lake, "raw", "clinic_notes").digest == first.revision


def test_a_renamed_file_is_another_revision(fetcher: Fetcher, hub: Path) -> None:
    first = fetcher("*.jsonl")
    (hub / REPOSITORY / "train.jsonl").rename(hub / REPOSITORY / "other.jsonl")
    assert fetcher("*.jsonl").revision != first.revision


def test_local_folder(tmp_path: Path, lake: Lake) -> None:
    folder = tmp_path / "my notes"
    folder.mkdir()
    (folder / "病历 1.txt").write_text("头痛")
    source = make_source("*.txt", folder=folder)
    snapshot = fetch(source, lake=lake, settings=make_settings(tmp_path))
    assert contents(snapshot) == {"病历 1.txt": "头痛"}
    assert snapshot.dataset.manifest.facts["origin"] == "local"
    shutil.rmtree(folder)
    with pytest.raises(FetchError, match="my notes is not there; correct 'folder'"):
        fetch(source, lake=lake, settings=make_settings(tmp_path))
    assert current(lake, "raw", "clinic_notes").path == snapshot.path


def test_a_pattern_that_matches_nothing(fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match=r"matches 'data/\*\.jsonl'.*There is: README\.md, .*train\.jsonl"):
        fetcher("train.jsonl", "data/*.jsonl")
    assert find_current(fetcher.lake, "raw", "clinic_notes") is None
    snapshot = fetcher("train.jsonl", {"path": "test.jsonl", "split": "test"})
    assert snapshot.dataset.manifest.facts["missing"] == ["test.jsonl"]
    with pytest.raises(FetchError, match=r"no file of .* matches 'test\.jsonl'"):
        fetcher({"path": "test.jsonl", "split": "test"})


def test_a_name_that_the_lake_needs(fetcher: Fetcher, hub: Path) -> None:
    (hub / REPOSITORY / "manifest.json").write_text("{}")
    with pytest.raises(FetchError, match="the lake keeps that name for itself"):
        fetcher("manifest.json")


@pytest.mark.parametrize("name", ["/etc/hosts.jsonl", "../secret.jsonl", "a//b.jsonl", "a/../../b.jsonl"])
def test_a_name_that_leads_out_of_the_repository_never_matches(name: str) -> None:
    for pattern in ("**", "**/*.jsonl", name):
        assert not path_matches(name, pattern)


def test_a_source_that_must_not_be_fetched(fetcher: Fetcher, lake: Lake) -> None:
    with pytest.raises(FetchError, match="is only listed"):
        fetcher("train.jsonl", status="listed")
    with pytest.raises(FetchError, match=r"is excluded.*: answers are links"):
        fetcher("train.jsonl", status="excluded", status_note="answers are links")
    with pytest.raises(FetchError, match="is gated: accept"):
        fetcher("train.jsonl", gated=True)
    with pytest.raises(FetchError, match="--accept-size"):
        fetcher("train.jsonl", size_bytes=6_000_000_000)
    assert not lake.root.exists()
    assert fetcher("train.jsonl", gated=True, accept_terms=True).path.is_dir()


def test_a_source_that_a_person_fetches(tmp_path: Path, lake: Lake) -> None:
    page = "https://example.org/notes"
    source = make_source("*.jsonl", status="manual", page=page, repository=None)
    with pytest.raises(FetchError, match=rf"get it from {page}, then .*enable clinic_notes --folder DIR"):
        fetch(source, lake=lake, settings=make_settings(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jsonl").write_text("{}\n")
    chosen = with_choice(source, Choice(folder=tmp_path / "mine"))
    snapshot = fetch(chosen, lake=lake, settings=make_settings(tmp_path))
    assert contents(snapshot) == {"a.jsonl": "{}\n"}
    assert snapshot.dataset.manifest.facts["origin"] == "local"


class TestSha1:
    RIGHT = hashlib.sha1(FILES["train.jsonl"].encode()).hexdigest()
    WRONG = "0" * 40

    def test_the_stated_one(self, fetcher: Fetcher) -> None:
        file = {"path": "train.jsonl", "sha1": self.RIGHT}
        assert contents(fetcher(file)) == {"train.jsonl": FILES["train.jsonl"]}
        assert fetcher(file).reused

    def test_another_one_keeps_what_was_there(self, fetcher: Fetcher) -> None:
        kept = fetcher("more/a.jsonl")
        with pytest.raises(
            FetchError,
            match=rf"train\.jsonl has the SHA-1 {self.RIGHT}.* expects {self.WRONG}.*correct 'sha1'",
        ):
            fetcher({"path": "train.jsonl", "sha1": self.WRONG})
        assert current(fetcher.lake, "raw", "clinic_notes").path == kept.path

    def test_a_file_that_is_there_already_is_checked_once_it_is_stated(self, fetcher: Fetcher) -> None:
        kept = fetcher("train.jsonl")
        with pytest.raises(FetchError, match="has the SHA-1"):
            fetcher({"path": "train.jsonl", "sha1": self.WRONG})
        assert contents(kept) == {"train.jsonl": FILES["train.jsonl"]}
        assert fetcher({"path": "train.jsonl", "sha1": self.RIGHT}).revision == kept.revision


def test_the_files_of_a_lookup_are_fetched_too(fetcher: Fetcher) -> None:
    lookup = {"path": "more/*.jsonl", "key": "id", "take": ["text"]}
    snapshot = fetcher({"path": "train.jsonl", "lookup": lookup})
    assert set(contents(snapshot)) == {"train.jsonl", "more/a.jsonl", "more/b.jsonl"}
    assert snapshot.dataset.manifest.facts["files"]["more/*.jsonl"] == ["more/a.jsonl", "more/b.jsonl"]
    (file,) = make_source({"path": "train.jsonl", "lookup": lookup}).files
    assert [path.name for path in lookup_files(snapshot.dataset, file)] == ["a.jsonl", "b.jsonl"]
    with pytest.raises(FetchError, match=r"matches 'none\.csv'; correct 'files'"):
        fetcher({"path": "train.jsonl", "lookup": lookup | {"path": "none.csv"}})


def test_a_repository_that_the_folder_hub_lacks(fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match="has no other/notes; put its files there, or unset MEDPIPE_HUB"):
        fetcher("train.jsonl", repository="other/notes")


class TestLinks:
    def test_inside_the_hub_they_are_followed(self, fetcher: Fetcher, hub: Path) -> None:
        (hub / "blobs").mkdir()
        (hub / "blobs" / "1").write_text("linked")
        (hub / REPOSITORY / "linked.jsonl").symlink_to(hub / "blobs" / "1")
        (hub / REPOSITORY / "folder").symlink_to(hub / REPOSITORY / "more")
        snapshot = fetcher("linked.jsonl", "folder/*.jsonl")
        assert contents(snapshot)["linked.jsonl"] == "linked"
        assert contents(snapshot)["folder/a.jsonl"] == FILES["more/a.jsonl"]
        assert not (snapshot.path / "linked.jsonl").is_symlink()

    def test_out_of_the_hub_they_are_refused(self, fetcher: Fetcher, hub: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret.jsonl").write_text("secret")
        (hub / REPOSITORY / "bad.jsonl").symlink_to(outside / "secret.jsonl")
        (hub / REPOSITORY / "away").symlink_to(outside)
        (hub / "owner").symlink_to(outside)
        (outside / "notes").mkdir()
        for pattern in ("*.jsonl", "away/*.jsonl", "**/*.jsonl"):
            with pytest.raises(FetchError, match="leads out of"):
                fetcher(pattern)
        with pytest.raises(FetchError, match="leads out of"):
            fetcher("*", repository="owner/notes")
        assert contents(fetcher("train.jsonl")) == {"train.jsonl": FILES["train.jsonl"]}

    def test_circles_end(self, fetcher: Fetcher, hub: Path) -> None:
        (hub / REPOSITORY / "more" / "up").symlink_to(hub / REPOSITORY)
        assert "more/a.jsonl" in contents(fetcher("**/*.jsonl"))


def test_other_patterns_at_the_same_revision_add_files(fetcher: Fetcher, hub: Path) -> None:
    (hub / REPOSITORY / "train.jsonl").unlink()
    first = fetcher("more/*.jsonl")
    second = fetcher("more/a.jsonl", "more/b.jsonl")
    assert second.revision == first.revision
    assert contents(second) == contents(first)
    assert fetcher("more/a.jsonl", "more/b.jsonl").reused


def test_damage_is_repaired(fetcher: Fetcher) -> None:
    first = fetcher("train.jsonl", "more/a.jsonl")
    (first.path / "more/a.jsonl").unlink()
    repaired = fetcher("train.jsonl", "more/a.jsonl")
    assert (repaired.reused, repaired.revision) == (False, first.revision)
    assert contents(repaired)["more/a.jsonl"] == FILES["more/a.jsonl"]
    # The same size, other bytes: only `force` looks closely enough.
    (first.path / "train.jsonl").write_text(FILES["train.jsonl"].replace("头", "腹"))
    assert fetcher("train.jsonl", "more/a.jsonl").reused
    forced = fetcher("train.jsonl", "more/a.jsonl", force=True)
    assert (forced.reused, forced.revision) == (False, first.revision)
    assert contents(forced)["train.jsonl"] == FILES["train.jsonl"]


def test_a_file_that_changes_while_it_is_copied(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = fetcher("more/a.jsonl")

    def copy_other_bytes(source: Path, target: Path) -> None:
        target.write_text(source.read_text() + "one more line\n")

    monkeypatch.setattr(shutil, "copyfile", copy_other_bytes)
    with pytest.raises(FetchError, match=r"train\.jsonl changed while it was copied"):
        fetcher("train.jsonl")
    assert current(fetcher.lake, "raw", "clinic_notes").path == kept.path


def test_a_full_disk_keeps_what_was_there(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = fetcher("more/a.jsonl")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskFullError, match="MEDPIPE_LAKE"):
        fetcher("train.jsonl")
    assert current(fetcher.lake, "raw", "clinic_notes").path == kept.path
    assert sorted(path.name for path in kept.path.parent.iterdir()) == sorted(
        [".fetch.lock", "HEAD", kept.revision]
    )


def _fetch_in_process(home: Path) -> tuple[bool, str]:
    settings = make_settings(home, hub=home / "hub")
    snapshot = fetch(make_source("train.jsonl"), lake=Lake(home / "lake"), settings=settings)
    return snapshot.reused, snapshot.revision


def test_two_processes_at_once_fetch_once(hub: Path) -> None:
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        results = pool.map(_fetch_in_process, [hub.parent] * 2)
    assert sorted(reused for reused, _ in results) == [False, True]
    assert len({revision for _, revision in results}) == 1


COMMIT, OTHER = "0123456789" * 4, "abcdef0123" * 4


class TestRevisions:
    def test_a_commit_is_frozen(self, lake: Lake) -> None:
        assert locked_commit(lake, repository="a/b", revision=COMMIT) == COMMIT
        lock_commit(lake, repository="a/b", revision=COMMIT, commit=COMMIT)
        assert not lake.sources_lock.exists()

    def test_a_branch_is_kept_by_repository_and_name(self, lake: Lake) -> None:
        assert locked_commit(lake, repository="a/b", revision="main") is None
        lock_commit(lake, repository="a/b", revision="main", commit=COMMIT)
        lock_commit(lake, repository="a/b", revision="v1", commit=OTHER)
        lock_commit(lake, repository="a/c", revision="main", commit=OTHER)
        assert locked_commit(lake, repository="a/b", revision="main") == COMMIT
        assert orjson.loads(lake.sources_lock.read_bytes()) == {
            "a/b": {"main": COMMIT, "v1": OTHER},
            "a/c": {"main": OTHER},
        }
        lock_commit(lake, repository="a/b", revision="main", commit=OTHER)
        assert locked_commit(lake, repository="a/b", revision="main") == OTHER

    @pytest.mark.parametrize("content", ["{", "[]", '{"a/b": 1}'])
    def test_a_broken_lock_is_named_and_kept(self, lake: Lake, content: str) -> None:
        lake.root.mkdir()
        lake.sources_lock.write_text(content)
        with pytest.raises(FetchError, match=r"sources\.lock .*; restore it, or delete it"):
            locked_commit(lake, repository="a/b", revision="main")
        with pytest.raises(FetchError):
            lock_commit(lake, repository="a/b", revision="main", commit=COMMIT)
        assert lake.sources_lock.read_text() == content

    def test_many_writers_lose_nothing(self, lake: Lake) -> None:
        def lock(number: int) -> None:
            lock_commit(lake, repository=f"owner/{number}", revision="main", commit=COMMIT)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lock, range(40)))
        assert len(orjson.loads(lake.sources_lock.read_bytes())) == 40
