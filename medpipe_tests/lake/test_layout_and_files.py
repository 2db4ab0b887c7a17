"""Names stay in the lake; a file is the old one or the new one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medpipe.lake import files
from medpipe.lake.files import DiskFullError, write_bytes_atomically, write_json_atomically
from medpipe.lake.layout import Lake, UnsafePathError, safe_name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc", "a\\b", ".hidden", "a b", "病", "a..b", "a\n", "\0", "-x", "*"],
)
def test_a_name_that_could_lead_out_is_refused(name: str) -> None:
    lake = Lake(Path("/lake"))
    for use in (
        lambda: safe_name(name),
        lambda: lake.room(name),
        lambda: lake.room("raw", name),
        lambda: lake.dataset("raw", "x", digest=name),
        lambda: lake.runs(name),
    ):
        with pytest.raises(UnsafePathError, match="letters, digits"):
            use()


@given(st.text())
def test_an_accepted_name_is_one_folder_below_the_lake(name: str) -> None:
    root = Path("/lake")
    try:
        path = Lake(root).room("raw", name)
    except UnsafePathError:
        return
    assert Path(os.path.normpath(path)).parent == root / "raw"


def test_links_out_of_the_lake_are_followed_and_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.root.mkdir()
    (lake.root / "out").symlink_to(tmp_path)
    assert lake.inside(lake.root / "a/b") == (lake.root / "a/b").resolve()
    for path in (lake.root / "out/x", lake.root / "../x", Path("/etc/passwd")):
        with pytest.raises(UnsafePathError, match="outside the lake"):
            lake.inside(path)


def test_a_write_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/file.json"
    write_json_atomically(path, {"b": 1, "a": "病"})
    assert path.read_text() == '{\n  "a": "病",\n  "b": 1\n}'
    write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "file"
    write_bytes_atomically(path, b"old")

    def full(handle: int) -> None:
        raise OSError(code, "full")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"what was there before is unchanged.*MEDPIPE_LAKE"):
        write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as raised:
        write_bytes_atomically(tmp_path / "file/below", b"")
    assert not isinstance(raised.value, DiskFullError)
