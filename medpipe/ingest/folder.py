"""Files that lie on this machine: a folder laid out as `<owner>/<repo>/<files>`, or a person's own folder.

A folder has no commits, so its revision is the digest of the files that the catalog entry means.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpipe.catalog.source import Source
from medpipe.ingest.errors import FetchError
from medpipe.ingest.patterns import may_lead_to, path_matches
from medpipe.ingest.revisions import FOLDER_STATE
from medpipe.lake.digest import digest_value, sha256_file
from medpipe.settings import Settings


@dataclass(frozen=True)
class FolderListing:
    """The files of a folder."""

    folder: Path
    paths: tuple[str, ...]
    """Every file that could be meant, relative to the folder."""


def locate_folder(source: Source, settings: Settings) -> tuple[Path, Path]:
    """The folder of a source, and the folder that symbolic links must not lead out of.

    Raises:
        FetchError: the folder is not there, or is a link that leads out of the hub folder.
    """
    if source.folder is not None:
        if not source.folder.is_dir():
            raise FetchError(
                f"{source.id}: the folder {source.folder} is not there; correct 'folder' in its entry"
            )
        return source.folder, source.folder.resolve()
    if settings.hub is None or source.repository is None:
        raise FetchError(f"{source.id} has no folder: set MEDPIPE_HUB, or give its entry a 'folder'")
    folder = settings.hub / source.repository
    if not folder.is_dir():
        raise FetchError(
            f"{source.id}: the folder hub {settings.hub} has no {source.repository}; put its files there, or "
            "unset MEDPIPE_HUB to read from the hub"
        )
    root = settings.hub.resolve()
    _refuse_outside(folder, root)
    return folder, root


def list_folder(folder: Path, *, root: Path, patterns: Sequence[str]) -> FolderListing:
    """Lists the files below a folder that any pattern could mean, following links that stay inside.

    Args:
        folder: the source's folder.
        root: resolved folder that links must not lead out of.
        patterns: path patterns of the catalog entry.

    Raises:
        FetchError: a link that is meant leads out of `root` or to nothing.
    """
    paths: list[str] = []
    visited: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        relative = Path(place).relative_to(folder)
        wanted = []
        for name in folders:
            below = (relative / name).as_posix()
            if any(may_lead_to(below, pattern) for pattern in patterns):
                resolved = _refuse_outside(folder / below, root)
                # A link to a folder above would never end.
                if resolved not in visited:
                    wanted.append(name)
        visited.add(Path(place).resolve())
        folders[:] = wanted
        for name in names:
            path = (relative / name).as_posix()
            if any(path_matches(path, pattern) for pattern in patterns):
                _refuse_outside(folder / path, root)
            paths.append(path)
    return FolderListing(folder, tuple(sorted(paths)))


def hash_files(listing: FolderListing, paths: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file's bytes, by path."""
    return {path: sha256_file(listing.folder / path) for path in paths}


def top_level_files(folder: Path, names: Sequence[str], *, root: Path) -> dict[str, Path]:
    """Those of some files at the top of a folder that are there, by name.

    Raises:
        FetchError: one of them is a link that leads out of `root`.
    """
    return {name: _refuse_outside(folder / name, root) for name in names if (folder / name).is_file()}


def folder_revision(hashes: Mapping[str, str], resolved: Sequence[Mapping[str, Any]] = ()) -> str:
    """Name of this state of the files: `folder-` and 32 hex characters over paths and contents.

    Which files a published subset stands for is part of it: the text that declares subsets may change while
    the files stay.
    """
    state = [sorted(hashes.items()), list(resolved)] if resolved else sorted(hashes.items())
    return FOLDER_STATE + digest_value(state)


def copy_file(listing: FolderListing, path: str, target: Path, *, sha256: str) -> None:
    """Copies a file into the lake, so that later edits cannot change what was published.

    Raises:
        FetchError: the file is another one by now than when it was hashed.
    """
    shutil.copyfile(listing.folder / path, target)
    if sha256_file(target) != sha256:
        raise FetchError(
            f"{listing.folder / path} changed while it was copied; run again when nobody writes to it"
        )


def _refuse_outside(path: Path, root: Path) -> Path:
    resolved = path.resolve()
    if not resolved.is_relative_to(root):
        raise FetchError(f"{path} is a link that leads out of {root}; put the file itself there")
    if not resolved.exists():
        raise FetchError(f"{path} is a link to nothing; put the file itself there")
    return resolved
