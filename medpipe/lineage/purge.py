"""Deletes what holds withdrawn text: whole data sets, and single rows of raw files where their format allows.

A data set loses its manifest first: from then on it is none, and whoever looks finds the new one or nothing.
A purge that was killed is finished by the same command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from medpipe.catalog.source import FileFormat, Source
from medpipe.ingest.formats import detect_format
from medpipe.ingest.json_lines import value_of
from medpipe.ingest.lines import read_lines
from medpipe.ingest.patterns import path_matches
from medpipe.lake.digest import sha256_file
from medpipe.lake.files import fsync_path, naming_a_full_disk, temporary_sibling
from medpipe.lake.layout import HEAD, Lake
from medpipe.lake.manifest import MANIFEST, ManifestError, read_manifest, write_manifest
from medpipe.lineage.holders import RawRows, refuse_links

Progress = Callable[[str], None]

_DEPTH = 4
"""Folders above a temporary file, at most: room, domain, source, data set."""
_LEFT_ALONE = frozenset({"runs", "tokenizer"})
_PLACEHOLDER = b"{}"
"""A line without any field, so that the rows behind it keep their numbers."""


def delete(lake: Lake, paths: Iterable[Path], *, keep: Collection[Path], progress: Progress) -> list[Path]:
    """Deletes folders of data sets, or files.

    Args:
        lake: the lake; nothing outside of it and nothing behind a symbolic link is touched.
        paths: what goes.
        keep: what stays although it is among them.
        progress: takes a line a path.

    Returns:
        What was deleted.

    Raises:
        LineageError: a path leads through a symbolic link; what was deleted before it stays so.
        OSError: something cannot be deleted.
    """
    deleted = []
    for path in paths:
        if path in keep or not (path.exists() or path.is_symlink()):
            continue
        refuse_links(lake, path)
        if path.is_dir():
            (path / MANIFEST).unlink(missing_ok=True)
            fsync_path(path)
            shutil.rmtree(path)
        else:
            path.unlink()
        head = path.parent / HEAD
        if head.is_file() and head.read_text().strip() == path.name:
            head.unlink()
        progress(f"deleted {path.relative_to(lake.root)}")
        deleted.append(path)
    return deleted


def leftovers(lake: Lake) -> list[Path]:
    """Drafts and half files that killed processes left in the rooms, which may hold anything."""
    found = []
    for depth in range(2, _DEPTH + 1):
        for path in sorted(lake.root.glob("/".join([*["*"] * depth, ".*.tmp"]))):
            if path.relative_to(lake.root).parts[0] not in _LEFT_ALONE and not _is_written(path):
                found.append(path)
    return found


def _is_written(path: Path) -> bool:
    """Whether the process lives that gave the name; see `medpipe.lake.files.temporary_sibling`."""
    process = path.name.removesuffix(".tmp").rpartition(".")[2].partition("-")[0]
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return int(process) != os.getpid()


def blank_rows(lake: Lake, rows: RawRows, source: Source | None) -> bool:
    """Takes rows out of a raw file, where it is JSON Lines; the rows behind them keep their numbers.

    Each line becomes `{}`, a row that normalising rejects. The file is replaced at once, and so is the
    manifest of its snapshot; killed between the two, the snapshot has a file of another size than its
    manifest says, and the same command finishes it.

    Returns:
        Whether it was done; the format, a compressed file or an archive may not allow it.
    """
    folder = lake.raw(rows.source) / rows.revision
    path = folder / rows.path
    if not path.is_file() or path.is_symlink() or not _is_json_lines(path, rows.path, source):
        return False
    if source is not None and any(file.lookup is not None for file in source.files):
        return False  # the second table may hold it, too
    refuse_links(lake, path)
    wanted = set(rows.rows)
    temporary = temporary_sibling(path)
    try:
        with naming_a_full_disk(path), temporary.open("wb") as file:
            number = 0
            for line in read_lines(path):
                if line.too_long:
                    return False
                is_row = bool(value_of(line))
                file.write((_PLACEHOLDER if is_row and number in wanted else line.data) + b"\n")
                number += is_row
        fsync_path(temporary)
        temporary.replace(path)
        fsync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return _describe(folder, rows.path)


def _is_json_lines(path: Path, name: str, source: Source | None) -> bool:
    """Whether the file itself, and not a member of it, is JSON Lines."""
    if source is None:
        return False
    stated = [file.format for file in source.files if path_matches(name, file.path)]
    if stated and stated[0] is not FileFormat.AUTO:
        return stated[0] is FileFormat.JSONL
    try:
        return detect_format(path).format is FileFormat.JSONL
    except ValueError:
        return False


def _describe(folder: Path, name: str) -> bool:
    """Writes the file's new size and checksum into its snapshot's manifest."""
    try:
        manifest = read_manifest(folder)
    except ManifestError:
        return False
    files = tuple(
        file.model_copy(
            update={"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)}
        )
        if file.path == name
        else file
        for file in manifest.files
    )
    write_manifest(
        folder, manifest.model_copy(update={"files": files, "bytes": sum(file.bytes for file in files)})
    )
    return True
