"""Bringing a source's files into the lake as one immutable snapshot, `raw/<source>/<revision>/`."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpipe.catalog.selection import SIZE_LIMIT_BYTES, why_not_fetched
from medpipe.catalog.source import Source
from medpipe.ingest.choice import Choice, choose
from medpipe.ingest.errors import FetchError
from medpipe.ingest.exclusive import exclusive
from medpipe.ingest.folder import copy_file, folder_revision, hash_files, list_folder, locate_folder
from medpipe.ingest.hub import HubClient, Listing
from medpipe.ingest.revisions import is_commit, lock_commit, locked_commit
from medpipe.lake.dataset import HEAD, Dataset, is_whole, publish
from medpipe.lake.digest import sha256_file
from medpipe.lake.files import write_bytes_atomically
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, Recipe, read_manifest
from medpipe.settings import Settings

CODE_VERSION = "raw-1"
"""Changes when the same revision would give other files."""

ROOM = "raw"

Progress = Callable[[str], None]
Place = Callable[[str, Path], None]
"""Puts the file of a path at a target."""


@dataclass(frozen=True)
class FetchedSnapshot:
    """A source's files in the lake."""

    dataset: Dataset
    reused: bool
    """Whether the files were there already."""

    @property
    def revision(self) -> str:
        """The commit, or the digest of a folder's files."""
        return self.dataset.digest

    @property
    def path(self) -> Path:
        """Folder of the files, laid out as in the repository."""
        return self.dataset.path


def fetch(
    source: Source,
    *,
    lake: Lake,
    settings: Settings,
    refresh: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> FetchedSnapshot:
    """Brings a source's files into the lake, or finds them there.

    From the hub a moving revision stays at the commit of the first fetch until `refresh`; what a killed
    download left is gone on with. From a folder the revision is the digest of the files as they are now.

    Args:
        source: the catalog entry.
        lake: where the snapshot goes.
        settings: folder hub, hub address, credential.
        refresh: ask the hub what the revision stands for now.
        force: check every byte of a snapshot that is there, and fetch again what is damaged.
        progress: told what happens, in short sentences.

    Returns:
        The snapshot; it is the source's current one from now on.

    Raises:
        FetchError: the source must not or cannot be fetched; the snapshot before it stays current.
        DiskFullError: no space left; the snapshot before it stays current.
    """
    refusal = why_not_fetched(source)
    if refusal is not None:
        raise FetchError(refusal)
    say = progress or (lambda message: None)
    guard = lake.raw(source.id) / ".fetch.lock"
    with exclusive(guard, on_wait=lambda: say(f"{source.id}: waiting for another process that fetches it")):
        if source.folder is not None or settings.hub is not None:
            return _fetch_folder(source, lake=lake, settings=settings, force=force, say=say)
        hub = HubClient.from_settings(settings)
        return _fetch_hub(source, lake=lake, hub=hub, refresh=refresh, force=force, say=say)


def _fetch_folder(
    source: Source, *, lake: Lake, settings: Settings, force: bool, say: Progress
) -> FetchedSnapshot:
    folder, root = locate_folder(source, settings)
    listing = list_folder(folder, root=root, patterns=[file.path for file in source.files])
    choice = choose(source, listing.paths, place=str(folder))
    hashes = hash_files(listing, choice.paths)
    revision = folder_revision(hashes)
    present = None if force else _reusable(source, lake, revision)
    if present is not None:
        return FetchedSnapshot(present, reused=True)
    _name_missing(source, choice, say)
    say(f"{source.id}: copying {len(choice.paths)} files from {folder}")
    kind = "local" if source.folder is not None else "folder"
    dataset = _publish(
        source,
        lake,
        revision,
        choice,
        kind=kind,
        place=lambda path, target: copy_file(listing, path, target, sha256=hashes[path]),
    )
    return FetchedSnapshot(dataset, reused=False)


def _fetch_hub(
    source: Source, *, lake: Lake, hub: HubClient, refresh: bool, force: bool, say: Progress
) -> FetchedSnapshot:
    repository = str(source.repository)  # a source without a folder has a repository
    keep = not refresh or is_commit(source.revision)
    commit = locked_commit(lake, repository=repository, revision=source.revision) if keep else None
    listing: Listing | None = None
    if commit is None:
        listing = hub.list_files(repository, revision=source.revision, progress=say)
        commit = listing.commit
        say(f"{source.id}: '{source.revision}' of {repository} is {commit}")
    dataset = None if force else _reusable(source, lake, commit)
    reused = dataset is not None
    if dataset is None:
        if listing is None:
            listing = hub.list_files(repository, revision=commit, progress=say)
        dataset = _download(source, lake, hub, listing, say=say)
    lock_commit(lake, repository=repository, revision=source.revision, commit=commit)
    return FetchedSnapshot(dataset, reused=reused)


def _download(source: Source, lake: Lake, hub: HubClient, listing: Listing, *, say: Progress) -> Dataset:
    repository = str(source.repository)
    choice = choose(source, listing.files, place=f"{repository} at {listing.commit}")
    _name_missing(source, choice, say)
    total = sum(listing.files[path].size or 0 for path in choice.paths)
    if total > SIZE_LIMIT_BYTES and not source.accept_size:
        raise FetchError(
            f"{source.id} has {total:,} bytes: `medpipe sources enable {source.id} --accept-size` if the "
            "disk has room"
        )
    there = _intact_files(lake.dataset(ROOM, source.id, digest=listing.commit))
    partial = lake.raw(source.id) / f".partial-{listing.commit}"
    arrived = hub.download(
        repository,
        listing,
        [path for path in choice.paths if path not in there],
        into=partial,
        progress=say,
    )
    files = arrived | there
    dataset = _publish(
        source,
        lake,
        listing.commit,
        choice,
        kind="hub",
        place=lambda path, target: _link(files[path], target),
    )
    for leftover in lake.raw(source.id).glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return dataset


def _name_missing(source: Source, choice: Choice, say: Progress) -> None:
    for pattern in choice.missing:
        say(f"{source.id}: nothing matches '{pattern}'; going on without it")


def _recipe(source: Source, revision: str) -> Recipe:
    patterns = sorted(file.path for file in source.files)
    return Recipe(
        inputs={"revision": revision},
        code_version=CODE_VERSION,
        config={"repository": source.repository, "patterns": patterns},
    )


def _reusable(source: Source, lake: Lake, revision: str) -> Dataset | None:
    """The snapshot of this revision with these patterns, made current; None if it must be fetched."""
    folder = lake.dataset(ROOM, source.id, digest=revision)
    try:
        manifest = read_manifest(folder)
    except ManifestError:
        return None
    if manifest.recipe.digest != _recipe(source, revision).digest or not is_whole(folder, manifest):
        return None
    write_bytes_atomically(lake.raw(source.id) / HEAD, revision.encode())
    return Dataset(folder, manifest)


def _intact_files(folder: Path) -> dict[str, Path]:
    """The files of a snapshot whose bytes are still those of its manifest, by path."""
    try:
        manifest = read_manifest(folder)
    except ManifestError:
        return {}
    return {
        file.path: folder / file.path
        for file in manifest.files
        if (folder / file.path).is_file() and sha256_file(folder / file.path) == file.sha256
    }


def _publish(
    source: Source, lake: Lake, revision: str, choice: Choice, *, kind: str, place: Place
) -> Dataset:
    facts: dict[str, Any] = {
        "repository": source.repository,
        "asked": source.revision,
        "revision": revision,
        "origin": kind,
        "files": choice.by_pattern,
        "missing": choice.missing,
    }
    folder = lake.dataset(ROOM, source.id, digest=revision)
    recipe = _recipe(source, revision)
    with publish(lake, ROOM, source.id, recipe=recipe, digest=revision) as draft:
        for path in choice.paths:
            target = draft.path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            place(path, target)
        # Files that an earlier form of the entry asked for belong to the same revision and stay.
        intact = _intact_files(folder)
        for path, file in intact.items():
            target = draft.path / path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(file, target)
        draft.facts = facts
        _remove_damaged(folder, intact)
    return draft.dataset


def _remove_damaged(folder: Path, intact: dict[str, Path]) -> None:
    """Removes files that are not what the manifest says, so that the folder is replaced and not kept."""
    with contextlib.suppress(ManifestError):
        for file in read_manifest(folder).files:
            if file.path not in intact:
                (folder / file.path).unlink(missing_ok=True)


def _link(file: Path, target: Path) -> None:
    """Gives a file of the lake a second name; copies where the file system has no hard links."""
    with contextlib.suppress(OSError):
        os.link(file, target)
        return
    shutil.copyfile(file, target)
