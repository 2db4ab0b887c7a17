"""Published subsets and splits, resolved by the `datasets` library from names and declarations alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medpipe.ingest.choice import files_of
from medpipe.ingest.errors import FetchError, IngestError
from medpipe.ingest.snapshot import FetchedSnapshot, fetch
from medpipe.lake.dataset import current
from medpipe.lake.layout import Lake
from medpipe_tests.ingest.hub_server import GitRepository, Proxy, serve_hub, serve_proxy
from medpipe_tests.ingest.sources import REPOSITORY, make_settings, make_source

DECLARED = """---
license: mit
configs:
- config_name: zh
  data_files:
  - split: train
    path: "texts/zh-*.jsonl"
  - split: dev
    path: texts/held_out.jsonl
- config_name: en
  data_dir: en
---
# Notes
"""
FILES = [
    "texts/zh-1.jsonl",
    "texts/zh-2.jsonl",
    "texts/held_out.jsonl",
    "en/train-00000-of-00002.parquet",
    "en/train-00001-of-00002.parquet",
    "en/test-00000-of-00001.parquet",
    "notes.pdf",
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


class FolderHub:
    """A folder hub with one repository, whose files each hold their own name."""

    def __init__(self, root: Path, lake: Lake) -> None:
        self.lake = lake
        self.folder = root / "hub" / REPOSITORY
        self.settings = make_settings(root, hub=root / "hub")

    def put(self, *names: str, readme: str | None = None) -> None:
        """Adds files, and the declaration if there is one."""
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(name)
        if readme is not None:
            (self.folder / "README.md").write_text(readme)

    def fetch(self, *files: dict[str, Any], **fields: Any) -> FetchedSnapshot:
        """Fetches a source with these entries."""
        return fetch(make_source(*files, **fields), lake=self.lake, settings=self.settings)


@pytest.fixture
def hub(tmp_path: Path, lake: Lake) -> FolderHub:
    return FolderHub(tmp_path, lake)


def resolved(snapshot: FetchedSnapshot) -> dict[str, list[str]]:
    """The files of each split, as the manifest has them."""
    return {
        f"{each['subset']}/{each['published_split']}": each["files"]
        for each in snapshot.dataset.manifest.facts["resolved"]
    }


def fetched(snapshot: FetchedSnapshot) -> list[str]:
    return [file.path for file in snapshot.dataset.manifest.files]


def test_declared_subsets(hub: FolderHub) -> None:
    hub.put(*FILES, readme=DECLARED)
    files = (
        {"subset": "zh"},
        {"subset": "zh", "published_split": "dev", "split": "validation"},
        {"subset": "en", "split": "test"},
    )
    snapshot = hub.fetch(*files)
    assert resolved(snapshot) == {
        "zh/train": ["texts/zh-1.jsonl", "texts/zh-2.jsonl"],
        "zh/dev": ["texts/held_out.jsonl"],
        "en/test": ["en/test-00000-of-00001.parquet"],
    }
    assert fetched(snapshot) == sorted(path for paths in resolved(snapshot).values() for path in paths)
    assert (snapshot.path / "texts/zh-1.jsonl").read_text() == "texts/zh-1.jsonl"
    assert snapshot.dataset.manifest.facts["files"] == {}
    assert [
        [path.relative_to(snapshot.path).as_posix() for path in files_of(snapshot.dataset, file)]
        for file in make_source(*files).files
    ] == list(resolved(snapshot).values())
    assert hub.fetch(*files).reused


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (
            ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"],
            {
                "train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
                "test": ["test-00000-of-00001.parquet"],
            },
        ),
        (
            ["data/train-00000-of-00001-1ab2.parquet", "data/validation-00000-of-00001-3cd4.parquet"],
            {
                "train": ["data/train-00000-of-00001-1ab2.parquet"],
                "validation": ["data/validation-00000-of-00001-3cd4.parquet"],
            },
        ),
        (
            ["train/1.jsonl", "train/2.jsonl", "dev/1.jsonl"],
            {"train": ["train/1.jsonl", "train/2.jsonl"], "validation": ["dev/1.jsonl"]},
        ),
        (["notes.csv", "more.csv"], {"train": ["more.csv", "notes.csv"]}),
    ],
    ids=["shards", "data folder", "folders", "no split"],
)
def test_splits_by_convention(hub: FolderHub, names: list[str], splits: dict[str, list[str]]) -> None:
    hub.put(*names, readme="Notes without a header.")
    snapshot = hub.fetch(*({"published_split": split, "split": split} for split in splits))
    assert resolved(snapshot) == {f"None/{split}": paths for split, paths in splits.items()}
    assert resolved(hub.fetch({"subset": "default"})) == {"default/train": splits["train"]}


def test_an_entry_without_a_published_split_means_that_of_its_own_name(hub: FolderHub) -> None:
    hub.put("train.jsonl", "test.jsonl")
    assert resolved(hub.fetch({"subset": "default"})) == {"default/train": ["train.jsonl"]}
    assert resolved(hub.fetch({"subset": "default", "split": "test"})) == {"default/test": ["test.jsonl"]}


def test_the_path_chooses_among_the_files_of_a_split(hub: FolderHub) -> None:
    hub.put(*FILES, readme=DECLARED)
    snapshot = hub.fetch({"subset": "zh", "path": "**/zh-2.jsonl"})
    assert fetched(snapshot) == ["texts/zh-2.jsonl"]
    with pytest.raises(FetchError, match=r"matches 'zh-9\.jsonl'.*There is: texts/zh-1\.jsonl, texts/zh-2"):
        hub.fetch({"subset": "zh", "path": "zh-9.jsonl"})


def test_a_folder_is_resolved_as_if_it_were_the_repository(hub: FolderHub) -> None:
    hub.put("general/notes.jsonl", "train.jsonl", "zh/train.jsonl", "zh/test.jsonl")
    assert fetched(hub.fetch({"published_split": "train", "path": "general/**"})) == ["general/notes.jsonl"]
    assert resolved(hub.fetch({"published_split": "train", "path": "zh/**"})) == {
        "None/train": ["zh/train.jsonl"]
    }


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"subset": "fr"}, r"notes has no subset 'fr'; set 'subset' to one of: zh, en"),
        ({"published_split": "train"}, r"notes has several subsets; set 'subset' to one of: zh, en"),
        (
            {"subset": "zh", "published_split": "test"},
            r"subset 'zh' of .* has no split 'test'; set 'published_split' to one of: train, dev",
        ),
        ({"subset": "zh", "split": "test"}, r"has no split 'test'; set 'published_split'"),
        (
            {"subset": "zh", "published_split": "train[:9]"},
            r"train, dev \(a slice is written as",
        ),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(
    hub: FolderHub, file: dict[str, Any], message: str
) -> None:
    hub.put(*FILES, readme=DECLARED)
    kept = hub.fetch({"subset": "zh"})
    with pytest.raises(FetchError, match=message):
        hub.fetch(file)
    assert current(hub.lake, "raw", "clinic_notes").path == kept.path


def test_another_declaration_of_the_same_files_is_another_revision(hub: FolderHub) -> None:
    hub.put(*FILES, "a.jsonl", "b.jsonl")
    hub.put(readme=DECLARED.replace("texts/zh-*", "a").replace("texts/held_out", "b"))
    files = ({"subset": "zh"}, {"subset": "zh", "published_split": "dev", "split": "validation"})
    first = hub.fetch(*files)
    hub.put(readme=DECLARED.replace("texts/zh-*", "b").replace("texts/held_out", "a"))
    second = hub.fetch(*files)
    assert first.revision != second.revision
    assert resolved(second) == {"zh/train": ["b.jsonl"], "zh/dev": ["a.jsonl"]}


def test_a_snapshot_from_before_the_subset_was_named(hub: FolderHub) -> None:
    hub.put("train.jsonl")
    before = hub.fetch({"path": "train.jsonl"})
    (file,) = make_source({"subset": "default"}).files
    with pytest.raises(IngestError, match=r"of the subset 'default'; materialise the source's raw asset"):
        files_of(before.dataset, file)


class TestHostileRepositories:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("a connection was opened")

        monkeypatch.setattr(socket.socket, "connect", refuse)

    @pytest.mark.parametrize(
        "place",
        ["https://192.0.2.1/a.jsonl", "/etc/host*", "~/notes.jsonl", "../other/*", "zip://*.jsonl::a.zip"],
    )
    @pytest.mark.parametrize("key", ["data_files", "data_dir"])
    def test_files_elsewhere_are_refused(self, hub: FolderHub, key: str, place: str) -> None:
        hub.put("a.jsonl", readme=f"---\nconfigs:\n- config_name: zh\n  {key}: '{place}'\n---\n")
        with pytest.raises(FetchError, match=r"declares a subset whose files lie elsewhere \('.*by 'path'"):
            hub.fetch({"subset": "zh"})

    @pytest.mark.parametrize("readme", [None, DECLARED])
    def test_programs_are_not_run(self, hub: FolderHub, readme: str | None, tmp_path: Path) -> None:
        hub.put(*FILES, readme=readme)
        trace = tmp_path / "was run"
        (hub.folder / "notes.py").write_text(f"open({str(trace)!r}, 'w')")
        with pytest.raises(FetchError, match=r"made by a program \(notes\.py\), which medpipe never runs"):
            hub.fetch({"subset": "zh"})
        assert not trace.exists()
        assert fetched(hub.fetch({"path": "texts/*.jsonl"})) == sorted(FILES[:3])

    @pytest.mark.parametrize(
        "readme",
        ["---\nconfigs: [\n---\n", "---\nconfigs: 3\n---\n", "---\nconfigs:\n- data_files: a.jsonl\n---\n"],
    )
    def test_a_header_that_means_nothing(self, hub: FolderHub, readme: str) -> None:
        hub.put("a.jsonl", readme=readme)
        with pytest.raises(FetchError, match=r"README\.md|finds no subsets") as refused:
            hub.fetch({"subset": "zh"})
        assert "medpipe-subsets-" not in str(refused.value), "a path that is gone by now helps nobody"
        assert "name the files by 'path'" in str(refused.value)

    def test_a_declaration_that_links_out_of_the_hub(self, hub: FolderHub, tmp_path: Path) -> None:
        (tmp_path / "secret.yaml").write_text("configs: 3")
        hub.put("a.jsonl")
        (hub.folder / ".huggingface.yaml").symlink_to(tmp_path / "secret.yaml")
        with pytest.raises(FetchError, match="leads out of"):
            hub.fetch({"subset": "zh"})

    def test_what_the_library_cannot_guess_a_format_for(self, hub: FolderHub) -> None:
        hub.put("texts.zip")
        with pytest.raises(FetchError, match=r"finds no subsets.*name the files by 'path'"):
            hub.fetch({"subset": "default"})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[GitRepository, Proxy]]:
    (tmp_path / "server").mkdir()
    with serve_hub(tmp_path / "server") as (repository, url), serve_proxy(url) as proxy:
        yield repository, proxy


@pytest.mark.hub
@pytest.mark.timeout(120)
class TestOnAServer:
    """The same repository on a real hub server, before and after it was laid out anew."""

    def test_two_revisions(self, served: tuple[GitRepository, Proxy], lake: Lake) -> None:
        repository, proxy = served
        old = repository.commit({name: name.encode() for name in FILES} | {"README.md": DECLARED.encode()})
        shards = ["zh/train-00000-of-00001.parquet", "zh/test-00000-of-00001.parquet"]
        repository.git("rm", "--quiet", "-r", "texts", "en", "README.md")
        new = repository.commit({name: name.encode() for name in shards})

        def get(*files: dict[str, Any], revision: str) -> FetchedSnapshot:
            source = make_source(*files, revision=revision)
            settings = make_settings(lake.root.parent, hf_endpoint=proxy.url)
            return fetch(source, lake=lake, settings=settings, accept=True)

        first = get({"subset": "zh"}, revision=old)
        assert resolved(first) == {"zh/train": ["texts/zh-1.jsonl", "texts/zh-2.jsonl"]}
        assert (first.path / "texts/zh-1.jsonl").read_text() == "texts/zh-1.jsonl"
        assert proxy.downloads == ["README.md", "zh-1.jsonl", "zh-2.jsonl"], "only what the subset needs"
        assert fetched(first) == ["texts/zh-1.jsonl", "texts/zh-2.jsonl"]
        assert get({"subset": "zh"}, revision=old).reused

        with pytest.raises(FetchError, match=rf"{REPOSITORY} at {new} has no subset 'zh'; .*one of: default"):
            get({"subset": "zh"}, revision=new)
        assert current(lake, "raw", "clinic_notes").path == first.path
        held = get({"published_split": "train", "path": "zh/**"}, revision=new)
        assert held.path == first.path, "its files have other columns: it waits for a person"
        second = get({"published_split": "train", "path": "zh/**"}, revision=new)
        assert resolved(second) == {"None/train": shards[:1]}
        assert (second.path / shards[0]).read_text() == shards[0]
