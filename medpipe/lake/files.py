"""Durable file writes: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson


class DiskFullError(OSError):
    """The disk filled while a file was written; nothing that was good before is lost."""


@contextlib.contextmanager
def naming_a_full_disk(
    path: Path, *, fix: str = "Free some space or set MEDPIPE_LAKE to a larger disk"
) -> Iterator[None]:
    """Turns "no space left" into an error that names the place and the fix.

    A library may hide the error of the operating system behind one of its own: causes are looked at too.

    Args:
        path: what is written.
        fix: what to do, before "then run again".

    Raises:
        DiskFullError: the disk or the quota below `path` is used up.
    """
    try:
        yield
    except Exception as error:
        number = _full_disk_errno(error)
        if number is None:
            raise
        raise DiskFullError(
            number,
            f"no space left while writing {path}; what was there before is unchanged. {fix}, then run again",
        ) from error


def _full_disk_errno(error: BaseException | None) -> int | None:
    """ENOSPC or EDQUOT if the error or its cause says so."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error.errno
        error = error.__cause__
    return None


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` that no finished data set can have."""
    return path.parent / f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[bool]:
    """Holds a folder to itself until the block is left; waits while another process or thread does.

    The lock is the operating system's (flock), so that a killed process lets go of it.

    Yields:
        Whether it is held: False where the file system knows no such locks.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def _lock(handle: int, operation: int) -> bool:
    try:
        fcntl.flock(handle, operation)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder below `parent` under a temporary name, removed on leaving the block unless it was renamed.

    Those that a killed process left behind under the same name are removed first; those of living processes
    and threads are locked, and stay.
    """
    with locked_folder(parent) as is_locked:
        for other in parent.glob(f".{name}.*.tmp") if is_locked else ():
            _remove_if_abandoned(other)
        path = temporary_sibling(parent / name)
        path.mkdir()
        handle = os.open(path, os.O_RDONLY)
        _lock(handle, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def _remove_if_abandoned(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a file, or gone meanwhile
        return
    try:
        if _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file that never changes a second name; copies it where the file system has no hard links."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.EEXIST):
            raise
        shutil.copyfile(source, target)


def fsync_path(path: Path) -> None:
    """Flushes a file or a folder's directory entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Writes `data` to `path` by way of a temporary file, fsync and rename.

    Raises:
        DiskFullError: the disk is full; the old file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        with naming_a_full_disk(path), temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_path(path.parent)


def write_json_atomically(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON with sorted keys; see `write_bytes_atomically`."""
    write_bytes_atomically(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
