"""A lake in a real S3 server: two machines see each other's data sets, and nothing half sent or damaged."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from medpipe.ingest.revisions import lock_commit, locked_commit
from medpipe.lake.dataset import Dataset, current, find_current, find_reusable, publish, whole_datasets
from medpipe.lake.layout import Lake, open_lake
from medpipe.lake.manifest import ManifestError, Recipe
from medpipe.lake.object_store import (
    ChangedMeanwhileError,
    DamagedObjectError,
    ObjectStore,
    StoreError,
    object_store,
)
from medpipe.lake.remote import file_key
from medpipe.lake.shared_files import change, refresh
from medpipe.lake.tombstones import read_tombstones, withdraw
from medpipe.operate.doctor.examine import _of_lake
from medpipe.settings import Settings
from medpipe.tokens.snapshot_names import name_snapshot, snapshot_names
from medpipe_tests.s3_server import BUCKET, SECRET_KEY, S3Server, s3_server

pytestmark = pytest.mark.hub

NAMES = ("corpus", "documents")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as running:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        object_store.cache_clear()
        yield running
        object_store.cache_clear()


@pytest.fixture
def machines(server: S3Server, tmp_path: Path) -> tuple[Lake, Lake]:
    """Two machines: homes of their own, one store."""
    url = f"s3://{BUCKET}/{tmp_path.name}"
    return Lake(tmp_path / "a", url), Lake(tmp_path / "b", url)


def recipe(name: str = "a") -> Recipe:
    return Recipe(inputs={"input": name}, code_version="1")


def make(
    lake: Lake, files: dict[str, str], *, by: Recipe | None = None, content: str | None = None
) -> Dataset:
    with publish(lake, *NAMES, recipe=by or recipe()) as draft:
        for name, text in files.items():
            (draft.path / name).parent.mkdir(exist_ok=True)
            (draft.path / name).write_text(text)
        draft.content_digest = content
        draft.rows = len(files)
    return draft.dataset


def test_settings_name_the_store_and_keep_a_local_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDPIPE_LAKE", "s3://bucket/team/lake/")
    lake = open_lake(Settings(home=tmp_path))
    assert lake == Lake(tmp_path / "lake-copy" / "bucket-team-lake", "s3://bucket/team/lake")
    monkeypatch.setenv("MEDPIPE_LAKE", str(tmp_path / "disk"))
    assert open_lake(Settings(home=tmp_path)) == Lake(tmp_path / "disk")
    monkeypatch.setenv("MEDPIPE_LAKE", "")
    assert open_lake(Settings(home=tmp_path)) == Lake(tmp_path / "lake")


def test_another_machine_reuses_what_one_made_and_fetches_only_what_it_reads(
    machines: tuple[Lake, Lake],
) -> None:
    a, b = machines
    assert find_current(b, *NAMES) is None
    made = make(a, {"x/part.txt": "one", "y/part.txt": "two", "note [1].txt": "three"})
    found = find_reusable(b, *NAMES, recipe=recipe())
    assert found is not None and found.manifest == made.manifest == current(b, *NAMES).manifest
    assert find_reusable(b, *NAMES, recipe=recipe("other")) is None
    assert not list(b.root.rglob("*.txt")), "nothing was asked for yet"
    assert [path.read_text() for path in found.files("x/*.txt")] == ["one"]
    assert [path.name for path in b.root.rglob("*.txt")] == ["part.txt"]
    assert not (found.path / "manifest.json").exists(), "a part of a data set is none"
    assert found.file("note [1].txt").read_text() == "three"
    folder = b.dataset(*NAMES, digest=made.digest)
    assert Dataset(folder, made.manifest).file("y/part.txt").read_text() == "two"
    assert (folder / "manifest.json").is_file()
    assert [each.digest for each in whole_datasets(b, *NAMES)] == [made.digest]


def test_a_file_that_data_sets_share_is_sent_once(machines: tuple[Lake, Lake], server: S3Server) -> None:
    a, b = machines
    first = make(a, {"same.txt": "the same", "old.txt": "old"})
    second = make(b, {"same.txt": "the same", "new.txt": "new"}, by=recipe("b"))
    assert current(a, *NAMES).digest == second.digest != first.digest
    assert {each.digest for each in whole_datasets(a, *NAMES)} == {first.digest, second.digest}
    assert len(list(object_store(str(a.store)).objects("files"))) == 3
    assert find_reusable(a, *NAMES, recipe=recipe()) is not None
    assert current(b, *NAMES).digest == first.digest, "made current again for all"


def test_equal_content_in_other_bytes_never_mixes(machines: tuple[Lake, Lake]) -> None:
    a, b = machines
    mine = make(a, {"part.txt": "bytes of one writer"}, content="equal")
    theirs = make(b, {"part.txt": "bytes of the other!"}, content="equal")
    assert mine.digest == theirs.digest
    for lake in machines:
        dataset = current(lake, *NAMES)
        [path] = dataset.files()
        assert path.read_text() == "bytes of the other!"
    assert Dataset(mine.path, mine.manifest).digest == mine.digest


def test_a_damaged_or_missing_object_is_named_and_sent_again(
    machines: tuple[Lake, Lake], server: S3Server
) -> None:
    a, b = machines
    made = make(a, {"part.txt": "good bytes"})
    key = file_key(made.manifest.files[0].sha256)
    store = object_store(str(a.store))
    store.put(key, b"bad bytes!")
    with pytest.raises(
        DamagedObjectError, match=rf"part.txt of the data set corpus/documents/{made.digest}.*{key}"
    ):
        current(b, *NAMES).files()
    assert not list(b.root.rglob("part.txt*")), "no trace of it is left"
    with pytest.raises(DamagedObjectError, match="damaged"):
        b.dataset(*NAMES, digest=made.digest)
    store.delete(key)
    with pytest.raises(
        DamagedObjectError, match=r"is missing; delete that object, then materialise .* force"
    ):
        current(b, *NAMES).files()
    make(a, {"part.txt": "good bytes"})
    assert current(b, *NAMES).file("part.txt").read_text() == "good bytes"


KILLED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from medpipe.lake import remote
    from medpipe.lake.dataset import publish
    from medpipe.lake.layout import Lake
    from medpipe.lake.manifest import Recipe
    from medpipe.lake.object_store import ObjectStore
    root, url, step = sys.argv[1:]
    sent = []
    def put(self, key, data, _put=ObjectStore.put, **condition):
        if step in key:
            os.kill(os.getpid(), signal.SIGKILL)
        return _put(self, key, data, **condition)
    def upload(self, path, key, _upload=ObjectStore.upload):
        if step == "files" and sent:
            os.kill(os.getpid(), signal.SIGKILL)
        sent.append(key)
        _upload(self, path, key)
    ObjectStore.put, ObjectStore.upload, remote._WORKERS = put, upload, 1
    recipe = Recipe(inputs={"input": "a"}, code_version="1")
    with publish(Lake(Path(root), url), "corpus", "documents", recipe=recipe) as draft:
        (draft.path / "one.txt").write_text("one")
        (draft.path / "two.txt").write_text("two")
""")


@pytest.mark.parametrize("step", ["files", "manifest.json", "HEAD"])
def test_a_kill_in_mid_upload_leaves_no_data_set_and_the_next_try_sends_it(
    machines: tuple[Lake, Lake], step: str
) -> None:
    a, b = machines
    before = make(b, {"old.txt": "old"}, by=recipe("before"))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(a.root), str(a.store), step], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert current(b, *NAMES).digest == before.digest
    seen = find_reusable(b, *NAMES, recipe=recipe())
    assert (seen is None) == (step != "HEAD"), "the manifest is the commit"
    found = find_reusable(a, *NAMES, recipe=recipe())
    assert found is not None and found.path.parent == a.room(*NAMES)
    assert current(b, *NAMES).digest == found.digest
    assert sorted(path.read_text() for path in current(b, *NAMES).files()) == ["one", "two"]


def test_notes_of_machines_that_write_at_once_are_all_kept(machines: tuple[Lake, Lake]) -> None:
    path = [lake.root / "notes.json" for lake in machines]
    failures: list[BaseException] = []

    def add(number: int) -> None:
        try:
            change(machines[number % 2], path[number % 2], lambda seen: sorted({*(seen or []), number}))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for lake, copy in zip(machines, path, strict=True):
        change(lake, copy, lambda seen: seen)
        assert copy.read_text().split() == ["[", *[f"{n}," for n in range(7)], "7", "]"]


def test_two_machines_never_give_one_name_to_two_snapshots(machines: tuple[Lake, Lake]) -> None:
    """Each has looked at the store before the other one wrote."""
    names = [name_snapshot(lake, letter * 32) for lake, letter in zip(machines, "ab", strict=True)]
    assert len(set(names)) == 2
    for lake in machines:
        refresh(lake, "snapshots")
        assert snapshot_names(lake) == {letter * 32: name for letter, name in zip("ab", names, strict=True)}


def test_a_conditional_write_is_refused_once_the_object_changed(machines: tuple[Lake, Lake]) -> None:
    store = object_store(str(machines[0].store))
    tag = store.put("pointer", b"1", create_only=True)
    with pytest.raises(ChangedMeanwhileError):
        store.put("pointer", b"2", create_only=True)
    store.put("pointer", b"3", if_match=tag)
    with pytest.raises(ChangedMeanwhileError, match="another machine"):
        store.put("pointer", b"4", if_match=tag)
    assert (store.get("pointer") or (b"", ""))[0] == b"3"


def test_revisions_and_withdrawals_hold_on_every_machine(machines: tuple[Lake, Lake]) -> None:
    a, b = machines
    lock_commit(a, repository="o/one", revision="main", commit="1" * 40)
    lock_commit(b, repository="o/two", revision="main", commit="2" * 40)
    for lake in machines:
        assert locked_commit(lake, repository="o/one", revision="main") == "1" * 40
        assert locked_commit(lake, repository="o/two", revision="main") == "2" * 40
    records = pl.DataFrame({"id": ["a" * 32], "content_key": ["b" * 32], "source": ["web"]})
    path = withdraw(a, records, reason="asked")
    assert read_tombstones(b).ids == {"a" * 32}
    object_store(str(a.store)).delete(a.key(path))
    assert not read_tombstones(b), "undone by deleting the file"


def test_a_store_that_cannot_be_used_is_named_and_nothing_is_taken_for_absent(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"s3://no-such-bucket.*NoSuchBucket.*MEDPIPE_LAKE"):
        find_current(Lake(tmp_path, "s3://no-such-bucket/x"), *NAMES)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-planted")
    with pytest.raises(StoreError, match=r"SignatureDoesNotMatch|AccessDenied") as refused:
        ObjectStore(f"s3://{BUCKET}/y").get("z")
    assert "planted" not in str(refused.value) and SECRET_KEY not in str(refused.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match=r"EndpointConnectionError.*AWS_ENDPOINT_URL"):
        ObjectStore(f"s3://{BUCKET}/y").get("z")
    for wrong in ("s3://key:secret@bucket/x", "gs://bucket", "s3:///x"):
        with pytest.raises(StoreError, match="s3://bucket/prefix") as told:
            ObjectStore(wrong)
        assert "secret" not in str(told.value)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StoreError, match=r"s3://b/x needs boto3: pip install 'medpipe\[s3\]'"):
        ObjectStore("s3://b/x").get("y")


@pytest.mark.parametrize("cuts", [2, 3])
def test_an_answer_that_is_cut_off_is_asked_for_again(cuts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Cutting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.send_header("ETag", '"1"')
            self.end_headers()
            self.wfile.write(b"0123456789"[: 5 if len(asked) <= cuts else 10])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Cutting) as cutting:
        threading.Thread(target=cutting.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{cutting.server_port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "any")
        store = ObjectStore(f"s3://{BUCKET}/x")
        if cuts == 2:
            assert store.get("HEAD") == (b"0123456789", '"1"')
        else:
            with pytest.raises(StoreError, match=rf"s3://{BUCKET}/x/HEAD cannot be reached"):
                store.get("HEAD")
        cutting.shutdown()
    assert len(asked) == 3


def test_a_manifest_that_would_lead_out_of_its_folder_is_refused(machines: tuple[Lake, Lake]) -> None:
    a, b = machines
    made = make(a, {"part.txt": "one"})
    [file] = made.manifest.files
    evil = made.manifest.model_copy(update={"files": (file.model_copy(update={"path": "../../x"}),)})
    object_store(str(a.store)).put(f"{a.key(made.path)}/manifest.json", evil.model_dump_json().encode())
    with pytest.raises(ManifestError, match="leads out of its data set"):
        current(b, *NAMES)


def test_the_doctor_takes_no_part_of_a_local_copy_for_a_wreck(machines: tuple[Lake, Lake]) -> None:
    a, b = machines
    made = make(a, {"x/part.txt": "one", "y/part.txt": "two"})
    current(b, *NAMES).files("x/*.txt")
    assert not list(_of_lake(b, read_all=True))
    on_a_disk = Lake(b.root)
    (on_a_disk.room(*NAMES) / "HEAD").write_text(made.digest)
    assert list(_of_lake(on_a_disk, read_all=True)), "on a disk it would be one"
