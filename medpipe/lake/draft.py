"""A data set as a value: its folder, its manifest and its files; and one while it is being written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from medpipe.lake.digest import sha256_file
from medpipe.lake.files import link_or_copy
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import DatasetFile, Manifest


@dataclass(frozen=True)
class Dataset:
    """A published data set."""

    path: Path
    manifest: Manifest
    lake: Lake | None = field(default=None, compare=False, repr=False)
    """Where its files are fetched from once they are asked for; None where they are all in `path`."""

    @property
    def digest(self) -> str:
        """Digest of the logical content."""
        return self.manifest.digest

    def files(self, pattern: str | None = None) -> list[Path]:
        """The data files whose whole relative path matches a glob pattern, in name order; all if None.

        `*` stays within one folder: `part-*.parquet` does not find `rejected/part-00000.parquet`.

        Raises:
            StoreError: files that lie in a store cannot be fetched.
        """
        chosen = [
            file for file in self.manifest.files if pattern is None or _matches(Path(file.path), pattern)
        ]
        self._fetch(chosen)
        return [self.path / file.path for file in chosen]

    def file(self, name: str) -> Path:
        """One data file by its relative path; see `files`."""
        self._fetch([file for file in self.manifest.files if file.path == name])
        return self.path / name

    def _fetch(self, files: list[DatasetFile]) -> None:
        if self.lake is not None and self.lake.store is not None:
            from medpipe.lake.remote import fetch

            fetch(self.lake, self.path, self.manifest, files, key=self.lake.key(self.path))

    def fetched(self) -> Self:
        """The data set with all its files in `path`; see `files`."""
        self.files()
        return self


def _matches(path: Path, pattern: str) -> bool:
    return path.match(pattern) and len(path.parts) == len(Path(pattern).parts)


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
        link_or_copy(dataset.file(path), target)

    @property
    def dataset(self) -> Dataset:
        """What the draft became.

        Raises:
            RuntimeError: the block of `publish` has not been left yet.
        """
        if self.published is None:
            raise RuntimeError(f"{self.path} is not published before the block of publish() is left")
        return self.published


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether every file that the manifest lists is there with its size."""
    return all(
        (folder / file.path).is_file() and (folder / file.path).stat().st_size == file.bytes
        for file in manifest.files
    )


def file_mistakes(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the files that the manifest lists, a line each; reads all of them."""
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file():
            yield f"{file.path}: it is missing"
        elif (size := path.stat().st_size) != file.bytes:
            yield f"{file.path}: it has {size:,} bytes instead of {file.bytes:,}"
        elif sha256_file(path) != file.sha256:
            yield f"{file.path}: its bytes changed since it was written"


def is_intact(folder: Path, manifest: Manifest) -> bool:
    """Whether every file that the manifest lists is there with its SHA-256; reads all of them."""
    return is_whole(folder, manifest) and not any(file_mistakes(folder, manifest))
