"""Atomic publication of data sets, and finding the one that a recipe already made.

A data set is a folder `<room>/<name>/<digest>/`. It is filled under a temporary name, its manifest is
written last, and a rename publishes it. `HEAD` beside the data sets names the one that is current.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medpipe.lake.digest import digest_value, sha256_file
from medpipe.lake.files import (
    fsync_path,
    link_or_copy,
    naming_a_full_disk,
    temporary_folder,
    temporary_sibling,
    write_bytes_atomically,
)
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import DatasetFile, Manifest, ManifestError, Recipe, read_manifest, write_manifest

HEAD = "HEAD"


@dataclass(frozen=True)
class Dataset:
    """A published data set."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """Digest of the logical content."""
        return self.manifest.digest

    def files(self, pattern: str | None = None) -> list[Path]:
        """The data files whose whole relative path matches a glob pattern, in name order; all if None.

        `*` stays within one folder: `part-*.parquet` does not find `rejected/part-00000.parquet`.
        """
        paths = [Path(file.path) for file in self.manifest.files]
        return [
            self.path / path
            for path in paths
            if pattern is None or (path.match(pattern) and len(path.parts) == len(Path(pattern).parts))
        ]


@dataclass(frozen=True)
class Built:
    """What a transform returns: the data set, and whether it was there already."""

    dataset: Dataset
    reused: bool


@dataclass
class Draft:
    """A data set while it is being written: fill `path`, then set the facts."""

    path: Path
    content_digest: str | None = None
    """Digest of the rows in order and their schema; of all file digests if left unset."""
    rows: int = 0
    rows_by_file: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    linked: dict[str, DatasetFile] = field(default_factory=dict)
    """Files that were taken over, by path; see `link`."""
    published: Dataset | None = None

    def link(self, dataset: Dataset, path: str) -> None:
        """Takes a file over from a published data set under the same path, by a hard link where that works.

        Its checksum is not computed again, so that a file that was damaged since is still found out.

        Raises:
            KeyError: the data set has no such file.
        """
        self.linked[path] = {file.path: file for file in dataset.manifest.files}[path]
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(dataset.path / path, target)

    @property
    def dataset(self) -> Dataset:
        """What the draft became.

        Raises:
            RuntimeError: the block of `publish` has not been left yet.
        """
        if self.published is None:
            raise RuntimeError(f"{self.path} is not published before the block of publish() is left")
        return self.published


def _list_files(draft: Draft) -> tuple[DatasetFile, ...]:
    paths = sorted(path for path in draft.path.rglob("*") if path.is_file())
    names = [path.relative_to(draft.path).as_posix() for path in paths]
    return tuple(
        draft.linked.get(name)
        or DatasetFile(
            path=name,
            bytes=path.stat().st_size,
            sha256=sha256_file(path),
            rows=draft.rows_by_file.get(name),
        )
        for name, path in zip(names, paths, strict=True)
    )


@contextlib.contextmanager
def publish(
    lake: Lake,
    room: str,
    *names: str,
    recipe: Recipe,
    digest: str | None = None,
    make_current: bool = True,
) -> Iterator[Draft]:
    """Gives a draft to fill; on leaving the block without an error the draft becomes a data set.

    What a killed process left of a draft of the same name is removed.

    Args:
        lake: the lake.
        room: the room that publishes.
        names: the data set's name, one or more folder names.
        recipe: what the data set is made of.
        digest: name of the data set where it has one of its own (a commit); computed if unset.
        make_current: let `HEAD` name it.

    Yields:
        The draft; its `published` is set once the block has been left.

    Raises:
        DiskFullError: the disk filled; the draft is removed and the current data set stays.
    """
    folder = lake.room(room, *names)
    folder.mkdir(parents=True, exist_ok=True)
    with naming_a_full_disk(folder), temporary_folder(folder, "draft") as path:
        draft = Draft(path)
        yield draft
        files = _list_files(draft)
        content = draft.content_digest or digest_value([[f.path, f.sha256] for f in files])
        manifest = Manifest(
            room=room,
            name="/".join(names),
            digest=digest or digest_value([content, recipe.code_version]),
            recipe=recipe,
            rows=draft.rows,
            bytes=sum(f.bytes for f in files),
            files=files,
            facts=draft.facts,
        )
        for file in files:
            fsync_path(draft.path / file.path)
        write_manifest(draft.path, manifest)
        draft.published = _rename_into_place(draft.path, folder / manifest.digest, manifest)
        if make_current:
            write_bytes_atomically(folder / HEAD, manifest.digest.encode())


def _rename_into_place(draft: Path, final: Path, manifest: Manifest) -> Dataset:
    """Publishes the draft; intact files of equal content that are there already stay, with the new recipe."""
    damaged: Path | None = None
    if final.exists():
        try:
            present = read_manifest(final)
        except ManifestError:
            present = None
        if present is not None and _names(present) >= _names(manifest) and is_intact(final, present):
            # Equal content need not be equal bytes (another version of a writer), so the list of files stays.
            noted = manifest.model_copy(update={"files": present.files, "bytes": present.bytes})
            write_manifest(final, noted)
            return Dataset(final, noted)
        # Out of the way by a rename: a kill while so many files are removed must not leave half of them.
        damaged = temporary_sibling(draft.parent / "draft")
        final.rename(damaged)
    try:
        draft.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        # Another process has published the same content meanwhile.
        return _rename_into_place(draft, final, manifest)
    finally:
        if damaged is not None:
            shutil.rmtree(damaged, ignore_errors=True)
    fsync_path(final.parent)
    return Dataset(final, manifest)


def current(lake: Lake, room: str, *names: str) -> Dataset:
    """The data set that `HEAD` names.

    Raises:
        ManifestError: nothing was published yet, or its manifest is gone.
    """
    folder = lake.room(room, *names)
    try:
        digest = (folder / HEAD).read_text().strip()
    except FileNotFoundError:
        key = "/".join((room, *names))
        raise ManifestError(f"{key} has no data set yet; materialise the asset {key} first") from None
    return Dataset(folder / digest, read_manifest(folder / digest))


def find_current(lake: Lake, room: str, *names: str) -> Dataset | None:
    """Like `current`, but None where there is nothing to read."""
    try:
        return current(lake, room, *names)
    except ManifestError:
        return None


def find_reusable(lake: Lake, room: str, *names: str, recipe: Recipe) -> Dataset | None:
    """The data set that this recipe already made, now made current again; None if there is none.

    Of several, the current one. A file that is missing or has another size makes a data set unusable.
    """
    folder = lake.room(room, *names)
    for dataset in whole_datasets(lake, room, *names):
        if dataset.manifest.recipe.digest == recipe.digest:
            write_bytes_atomically(folder / HEAD, dataset.digest.encode())
            return dataset
    return None


def whole_datasets(lake: Lake, room: str, *names: str) -> Iterator[Dataset]:
    """All data sets of a name that can be read, the current one first.

    A file that is missing or has another size makes a data set unusable.
    """
    folder = lake.room(room, *names)
    if not folder.is_dir():
        return
    head = folder / HEAD
    newest = head.read_text().strip() if head.is_file() else None
    candidates = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    for candidate in sorted(candidates, key=lambda path: (path.name != newest, path.name)):
        try:
            manifest = read_manifest(candidate)
        except ManifestError:
            continue
        if is_whole(candidate, manifest):
            yield Dataset(candidate, manifest)


def _names(manifest: Manifest) -> set[str]:
    return {file.path for file in manifest.files}


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether every file that the manifest lists is there with its size."""
    return all(
        (folder / file.path).is_file() and (folder / file.path).stat().st_size == file.bytes
        for file in manifest.files
    )


def is_intact(folder: Path, manifest: Manifest) -> bool:
    """Whether every file that the manifest lists is there with its SHA-256; reads all of them."""
    return is_whole(folder, manifest) and all(
        sha256_file(folder / file.path) == file.sha256 for file in manifest.files
    )
