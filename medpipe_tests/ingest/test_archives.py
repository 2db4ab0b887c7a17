"""Zip and gzip around published files."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
from pathlib import Path

import pytest

from medpipe.catalog.source import FileFormat
from medpipe.ingest import archives
from medpipe.ingest.archives import unpacked
from medpipe.ingest.errors import IngestError
from medpipe.ingest.patterns import path_matches
from medpipe.lake.files import DiskFullError
from medpipe_tests.ingest.reading import read, write


def contents(path: Path, member: str | None = None) -> dict[str, bytes]:
    with unpacked(path, member=member) as files:
        return {file.name: file.path.read_bytes() for file in files}


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def zipped_with_raw_name(path: Path, name: bytes) -> Path:
    """A zip whose member name has these bytes and no UTF-8 flag."""
    stand_in = "n" * len(name)
    data = zipped(path, {stand_in: b"x"}).read_bytes()
    path.write_bytes(data.replace(stand_in.encode(), name))
    return path


def test_a_plain_file_is_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"a": 1}')
    with unpacked(path, member=None) as files:
        assert [(file.name, file.path) for file in files] == [("", path)]


@pytest.mark.parametrize(
    ("name", "inner"), [("a.json.gz", "a.json"), ("a.CSV.GZ", "a.CSV"), ("data.gz", "data")]
)
def test_gzip(tmp_path: Path, name: str, inner: str) -> None:
    # Two streams one after the other are one file.
    path = write(tmp_path, name, gzip.compress(b'{"a": 1}\n', mtime=0) + gzip.compress(b'{"a": 2}\n'))
    with unpacked(path, member=None) as files:
        (file,) = files
        assert (file.name, file.path.name) == ("", inner)
        assert file.path.read_bytes() == b'{"a": 1}\n{"a": 2}\n'
        scratch = file.path.parent
    assert not scratch.exists()


def test_a_packed_table_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv.gz", gzip.compress("问,答\n咳嗽,休息\n".encode("gb18030"), mtime=0))
    with unpacked(path, member=None) as files:
        assert [read(file.path) for file in files] == [([{"问": "咳嗽", "答": "休息"}], [])]


def test_zip_members_by_name_one_at_a_time(tmp_path: Path) -> None:
    members = {
        "b/train.jsonl": b"1", "a.jsonl": b"2", "b/": b"", "__MACOSX/a.jsonl": b"x", "b/.DS_Store": b"x",
        "c.json.gz": gzip.compress(b"3", mtime=0), "manifest.txt": b"4",
    }  # fmt: skip
    path = zipped(tmp_path / "a.zip", members)
    assert list(contents(path)) == ["a.jsonl", "b/train.jsonl", "c.json.gz", "manifest.txt"]
    assert contents(path, "**/*.jsonl") == {"a.jsonl": b"2", "b/train.jsonl": b"1"}
    assert contents(path, "b/*") == {"b/train.jsonl": b"1"}
    assert contents(path, "c.json.gz") == {"c.json.gz": b"3"}
    with unpacked(path, member=None) as files:
        first = next(files).path
        second = next(files).path
        assert not first.exists()
        assert (second.exists(), second.suffix) == (True, ".jsonl")
        third = next(files).path
        assert third.suffix == ".json"
        scratch = third.parent
    assert not scratch.exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("问答/训练.csv".encode("gb18030"), "问答/训练.csv"),
        ("问答/训练.csv".encode(), "问答/训练.csv"),
        (b"data\\train.csv", "data/train.csv"),
        (b"./train.csv", "train.csv"),
        (b"\xff.csv", "\u00a0.csv"),
        ("x/" + "长" * 70 + ".csv", "x/" + "长" * 70 + ".csv"),
    ],
)
def test_member_names(tmp_path: Path, name: bytes | str, expected: str) -> None:
    path = tmp_path / "a.zip"
    if isinstance(name, str):
        zipped(path, {name: b"x"})
    else:
        zipped_with_raw_name(path, name)
    assert contents(path) == {expected: b"x"}
    with unpacked(path, member=None) as files:
        assert next(files).path.suffix == ".csv"


@pytest.mark.parametrize("name", ["../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "..\\evil.csv"])
def test_no_member_leaves_the_scratch_folder(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "a.zip", {name: b"x", "good.csv": b"y"})
    with unpacked(path, member=None) as files:
        assert [file.name for file in files] == ["good.csv"]


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 100_000)
    zeros = b"0" * 5_000_000
    said = r"more than [0-9,]+ bytes come out of .*a\.\w+\.?\w*, which has .*unpack it yourself"
    with pytest.raises(IngestError, match=said):
        contents(zipped(tmp_path / "a.zip", {"a.csv": zeros}))
    # One that lies about its size is stopped when it goes on.
    packed = gzip.compress(zeros, mtime=0)
    path = write(tmp_path, "a.csv.gz", packed[:-4] + struct.pack("<I", 10))
    with pytest.raises(IngestError, match=said):
        contents(path)
    monkeypatch.setattr(archives, "MAX_RATIO", 2_000)
    assert contents(zipped(tmp_path / "b.zip", {"a.csv": zeros})) == {"a.csv": zeros}


def test_what_is_gone_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.tempfile, "tempdir", str(tmp_path))
    path = write(tmp_path, "a.csv.gz", gzip.compress(b"q,a\n" * 10_000, mtime=0)[:-20])
    with pytest.raises(IngestError), unpacked(path, member=None) as files:
        list(files)
    with pytest.raises(KeyError), unpacked(zipped(tmp_path / "b.zip", {"x": b""}), member=None) as files:
        next(files)
        raise KeyError
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.csv.gz", "b.zip"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv.gz", b"q,a\n1,2\n"),
        ("a.csv.gz", gzip.compress(b"x" * 100, mtime=0)[:-9]),
        ("a.csv.gz", gzip.compress(bytes(range(256)), mtime=0)[:-8] + b"\0" * 8),
        ("a.csv.gz", b""),
        ("a.zip", b"q,a\n1,2\n"),
        ("a.zip", b""),
    ],
)
def test_a_damaged_archive_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(
        IngestError, match=rf"{name} cannot be unpacked, it is damaged or cut.*fetch it again"
    ):
        contents(write(tmp_path, name, data))


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.csv", b"x")
        archive.writestr("train.csv", b"untouched")
    path.write_bytes(path.read_bytes().replace(b"untouched", b"TOUCHED!!"))
    with pytest.raises(IngestError, match=r"train\.csv in .*a\.zip cannot be unpacked"):
        contents(path)
    path = zipped(tmp_path / "b.zip", {"inner.csv.gz": b"no gzip"})
    with pytest.raises(IngestError, match=r"inner\.csv\.gz in .*b\.zip cannot be unpacked"):
        contents(path)


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"train.csv": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(
        IngestError, match=r"train\.csv in .*a\.zip is encrypted; unpack it with its password"
    ):
        contents(path)


def test_an_unknown_way_of_packing_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"train.csv": b"x"})
    data = bytearray(path.read_bytes())
    data[8:10] = data[data.index(b"PK\x01\x02") + 10 :][:2] = struct.pack("<H", 9)
    start = data.index(b"PK\x01\x02") + 10
    data[start : start + 2] = struct.pack("<H", 9)
    path.write_bytes(data)
    with pytest.raises(IngestError, match=r"train\.csv in .*a\.zip is packed in an unknown way"):
        contents(path)


def test_a_member_without_a_name_is_none(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"1", "good.csv": b"2"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 46] = 0
    path.write_bytes(data)
    assert contents(path) == {"good.csv": b"2"}


@pytest.mark.parametrize("name", ["inner.zip", "b/inner.tar.gz", "inner.json.bz2", "INNER.ZIP.GZ"])
@pytest.mark.parametrize("member", [None, "**/*nner*", "**/*NNER*"])
def test_an_archive_within_is_named(tmp_path: Path, name: str, member: str | None) -> None:
    path = zipped(tmp_path / "a.zip", {name: b"x", "train.csv": b"y"})
    if member is not None and not path_matches(name, member):
        return
    said = rf"{re.escape(name)} in .*a\.zip is an archive within the archive, which is not opened; unpack it"
    with pytest.raises(IngestError, match=said):
        contents(path, member)
    assert contents(path, "*.csv") == {"train.csv": b"y"}


def test_what_tells_about_the_data_is_left_out(tmp_path: Path) -> None:
    about = {"README.md": b"1", "d/LICENSE": b"2", "d/paper.pdf": b"3", "readme.txt.gz": gzip.compress(b"4")}
    data = {"d/train.csv": b"5", "notes.txt": b"6", "part-0": b"7"}
    path = zipped(tmp_path / "a.zip", about | data)
    assert contents(path) == data
    assert contents(path, "*.md") == {"README.md": b"1"}
    with unpacked(path, member=None, file_format=FileFormat.TEXT_DOCUMENT) as files:
        assert {file.name for file in files} == {*about, *data}
    assert contents(zipped(tmp_path / "b.zip", {"README.md": b"1"})) == {"README.md": b"1"}


def test_two_members_of_one_name_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name in ("a.csv", "b.csv", "b.csv"):
            archive.writestr(name, b"x")
    with pytest.raises(IngestError, match=r"a\.zip holds more than one member named b\.csv; unpack it"):
        contents(path)
    assert contents(path, "a.csv") == {"a.csv": b"x"}


def test_no_such_member(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"train.csv": b"x"})
    with pytest.raises(
        IngestError, match=r"a\.zip has no file that matches '\*\.json'.*It holds: train\.csv"
    ):
        contents(path, "*.json")
    with pytest.raises(IngestError, match=r"b\.zip has no files"):
        contents(zipped(tmp_path / "b.zip", {}))
    with pytest.raises(IngestError, match=r"gone\.zip is missing"):
        contents(tmp_path / "gone.zip")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.gzip, "open", lambda path: FullDisk())
    with pytest.raises(DiskFullError, match="no space left"):
        contents(write(tmp_path, "a.csv.gz", gzip.compress(b"x", mtime=0)))
