"""What killed processes left in the lake: half-written data sets, and names of what is not there."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from medpipe.ingest.revisions import is_revision
from medpipe.lake.dataset import is_intact, is_whole
from medpipe.lake.files import temporary_sibling
from medpipe.lake.layout import HEAD, Lake
from medpipe.lake.manifest import MANIFEST, ManifestError, read_manifest
from medpipe.lake.process import ProcessIdentity
from medpipe.operate.doctor.finding import Finding
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.tokens.snapshot import CURRENT, SnapshotError, read_snapshot

RUNS = "runs"
_NO_DATASETS = frozenset({RUNS, "snapshots", "tombstones", "withdrawals"})
_DIGEST = re.compile(r"[0-9a-f]{32}")
"""Name of a data set, where it is not a revision of its publisher's."""
_DEPTH = 3
"""Folders above a data set, at most: room, domain, source."""
_FRESH_S = 600.0
"""A file is written in moments; on a shared lake the process that does may be on another machine."""


def drafts(lake: Lake) -> Iterator[Finding]:
    """Folders and files under a temporary name whose writer has ended."""
    for depth in range(1, _DEPTH + 2):
        for path in sorted(lake.root.glob("/".join([*["*"] * depth, ".*.tmp"]))):
            room = path.relative_to(lake.root).parts[0]
            if room != RUNS and not path.is_symlink() and _is_abandoned(path):
                yield Finding(
                    kind="data set",
                    thing=_name(lake, path),
                    problem="half written; whoever wrote it has ended",
                    fix="remove it; the next materialisation writes it anew",
                    repair=partial(_remove_draft, path),
                )
    for path in sorted(lake.root.glob(f"{RUNS}/*/*/checkpoints/.*.tmp")):
        if not _is_training(path.parents[1]):
            yield Finding(
                kind="data set",
                thing=_name(lake, path),
                problem="a half-written checkpoint; its trainer has ended",
                fix="remove it; training goes on from the checkpoint before",
                repair=partial(_remove_of_run, path),
            )


def _name(lake: Lake, path: Path) -> str:
    return path.relative_to(lake.root).as_posix()


def _is_abandoned(path: Path) -> bool:
    """Whether nobody writes below a temporary name: process gone, and the lock free or the file old."""
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    process = path.name.removesuffix(".tmp").rpartition(".")[2].partition("-")[0]
    if not process.isdigit() or ProcessIdentity.of(int(process)) is not None:
        return False
    # A draft's folder is locked by its writer, also where that is on another machine.
    return _is_unlocked(path) if path.is_dir() else age > _FRESH_S


def _is_unlocked(folder: Path) -> bool:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _remove_draft(path: Path) -> str | None:
    if path.exists() and not _is_abandoned(path):
        return "somebody writes it again"
    _remove(path)
    return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_training(folder: Path) -> bool:
    try:
        with run_lock(folder):
            return False
    except RunLockedError:
        return True


def _remove_of_run(path: Path) -> str | None:
    try:
        with run_lock(path.parents[1]):
            _remove(path)
    except RunLockedError as error:
        return str(error)
    return None


def datasets(lake: Lake, *, read_all: bool) -> Iterator[Finding]:
    """Folders that are no data set, and data sets that lack something.

    Args:
        lake: the lake.
        read_all: compare the checksum of every file, not only its size.
    """
    for folder in dataset_folders(lake):
        try:
            manifest = read_manifest(folder)
        except ManifestError as error:
            if (folder / MANIFEST).exists():
                yield _damaged(lake, folder, str(error))
            else:
                yield _no_dataset(lake, folder)
            continue
        if not (is_intact if read_all else is_whole)(folder, manifest):
            yield _damaged(lake, folder, "a file is missing or not what was written")


def _no_dataset(lake: Lake, folder: Path) -> Finding:
    if _DIGEST.fullmatch(folder.name) or is_revision(folder.name):
        return Finding(
            kind="data set",
            thing=_name(lake, folder),
            problem=f"it has no {MANIFEST}, so it is none: deleting it was cut short",
            fix="remove what is left of it",
            repair=partial(_remove_folder, folder),
        )
    return Finding(
        kind="data set",
        thing=_name(lake, folder),
        problem="it is no data set, and its name is none that medpipe gives",
        fix=f"move {folder} out of the lake, if a person put it there, or remove it",
    )


def _damaged(lake: Lake, folder: Path, problem: str) -> Finding:
    name = "/".join(folder.relative_to(lake.root).parts[:-1])
    return Finding(
        kind="data set",
        thing=_name(lake, folder),
        problem=f"damaged: {problem}",
        fix=f"materialise {name} again with force, or remove {folder}: it is fetched or made anew",
    )


def dataset_folders(lake: Lake) -> Iterator[Path]:
    """Every folder that is a data set or should be one."""
    found: set[Path] = set()
    for depth in range(1, _DEPTH + 1):
        for mark in (HEAD, MANIFEST):
            # A HEAD lies beside data sets, a manifest in one.
            for path in lake.root.glob("/".join([*["*"] * (depth + (mark == MANIFEST)), mark])):
                found.add(path.parent if mark == HEAD else path.parents[1])
    for room in sorted(found):
        if room == lake.root or room.relative_to(lake.root).parts[0] in _NO_DATASETS:
            continue
        yield from sorted(
            path
            for path in room.iterdir()
            if path.is_dir() and not path.is_symlink() and path.name[0] != "." and path not in found
        )


def _remove_folder(folder: Path) -> str | None:
    if (folder / MANIFEST).exists():
        return "it has been made again"
    if folder.exists():
        gone = temporary_sibling(folder)
        folder.rename(gone)
        shutil.rmtree(gone)
    return None


def heads(lake: Lake) -> Iterator[Finding]:
    """`HEAD` files that name a data set which is not there."""
    for depth in range(1, _DEPTH + 1):
        for head in sorted(lake.root.glob("/".join([*["*"] * depth, HEAD]))):
            if not _is_dataset(head.parent, named := _named_by(head)):
                yield Finding(
                    kind="data set",
                    thing=_name(lake, head),
                    problem=f"it names {named[:80] or 'nothing'}, which is no data set",
                    fix=f"remove it; materialising {_name(lake, head.parent)} makes one current again",
                    repair=partial(_remove_head, head),
                )


def _named_by(head: Path) -> str:
    """What a `HEAD` says, whatever bytes a crash or a person left there."""
    return head.read_bytes().decode(errors="replace").strip()


def _is_dataset(folder: Path, name: str) -> bool:
    try:
        return (folder / name / MANIFEST).is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return False


def _remove_head(head: Path) -> str | None:
    if head.exists() and _is_dataset(head.parent, _named_by(head)):
        return "it has been made again"
    head.unlink(missing_ok=True)
    return None


def snapshots(lake: Lake) -> Iterator[Finding]:
    """Corpus snapshots that cannot be read, or name shards that are not there."""
    for path in sorted(lake.snapshots.glob("*.json")):
        try:
            snapshot = read_snapshot(lake, path.stem)
        except SnapshotError as error:
            problem, fix = str(error), f"remove {path}, then materialise snapshot"
        else:
            if path.stem == CURRENT:
                continue
            missing = [
                f"shards/{each.domain}/{each.source}/{each.digest}"
                for each in snapshot.shards
                if not (
                    lake.dataset("shards", each.domain, each.source, digest=each.digest) / MANIFEST
                ).is_file()
            ]
            if not missing:
                continue
            problem = f"{len(missing)} of its data sets are not there, such as {missing[0]}"
            fix = f"nothing can be trained on it any more; remove {path}, or bring them back"
        yield Finding(kind="data set", thing=_name(lake, path), problem=problem, fix=fix)
