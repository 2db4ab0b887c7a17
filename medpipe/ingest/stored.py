"""A source's snapshot in the lake: finding it, filling it, mending it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medpipe.catalog.source import Source
from medpipe.ingest import CODE_VERSION
from medpipe.ingest.choice import Choice
from medpipe.ingest.errors import FetchError
from medpipe.ingest.subsets import is_published
from medpipe.lake.dataset import Dataset, is_whole, named_dataset, publish
from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, Recipe, read_manifest

ROOM = "raw"

Place = Callable[[str, Path], None]
"""Puts the file of a path at a target."""


def _recipe(source: Source, revision: str) -> Recipe:
    config: dict[str, Any] = {
        "repository": source.repository,
        "patterns": sorted(file.path for file in source.files),
    }
    further = {
        "published": [
            [file.subset, file.published_split, file.split, file.path]
            for file in source.files
            if is_published(file)
        ],
        "lookups": sorted(file.lookup.path for file in source.files if file.lookup),
        "sha1": sorted([file.path, file.sha1] for file in source.files if file.sha1),
    }
    config |= {name: value for name, value in further.items() if value}
    return Recipe(inputs={"revision": revision}, code_version=CODE_VERSION, config=config)


def check_sha1(choice: Choice, located: Callable[[str], Path]) -> None:
    """Compares files with the SHA-1 that the catalog entry states.

    Args:
        choice: the files and what is known of them.
        located: where the bytes of a path are.

    Raises:
        FetchError: a file has another one.
    """
    for chosen in choice.chosen:
        expected = chosen.file.sha1
        if expected is None or chosen.is_lookup:
            continue
        for path in chosen.paths:
            with located(path).open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
            if found != expected:
                raise FetchError(
                    f"{path} has the SHA-1 {found}, the catalog entry expects {expected}: get the file that "
                    "was meant, or correct 'sha1' in its entry"
                )


def reusable(source: Source, lake: Lake, revision: str) -> Dataset | None:
    """The snapshot of this revision with these patterns; None if it must be fetched."""
    try:
        found = named_dataset(lake, ROOM, source.id, digest=revision)
    except ManifestError:
        return None
    if found is None or found.manifest.recipe.digest != _recipe(source, revision).digest:
        return None
    if lake.store is None and not is_whole(found.path, found.manifest):
        return None
    return found


def intact_files(folder: Path) -> dict[str, Path]:
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


def store(
    source: Source,
    lake: Lake,
    revision: str,
    choice: Choice,
    *,
    kind: str,
    place: Place,
    licence: str | None,
) -> Dataset:
    """Publishes the files of one revision; which revision is current stays as it is.

    Args:
        source: the catalog entry.
        lake: where the snapshot goes.
        revision: the commit, or the name of a folder's state; the snapshot's digest.
        choice: which files.
        kind: what they come from: `hub`, `folder` (a folder hub) or `local`.
        place: puts each file into the draft.
        licence: as the publisher's card states it.

    Raises:
        DiskFullError: no space left; the snapshot before it stays current.
    """
    facts: dict[str, Any] = {
        "repository": source.repository,
        "asked": source.revision,
        "revision": revision,
        "origin": kind,
        "licence": {"card": licence, "catalog": source.licence.name},
        **choice.facts(),
    }
    folder = lake.raw(source.id) / revision
    recipe = _recipe(source, revision)
    with publish(lake, ROOM, source.id, recipe=recipe, digest=revision, make_current=False) as draft:
        for path in choice.paths:
            target = draft.path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            place(path, target)
        # Files that an earlier form of the entry asked for belong to the same revision and stay.
        intact = intact_files(folder)
        for path, file in intact.items():
            target = draft.path / path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                link(file, target)
        draft.facts = facts
        _remove_damaged(folder, intact)
    return draft.dataset


def _remove_damaged(folder: Path, intact: dict[str, Path]) -> None:
    """Removes files that are not what the manifest says, so that the folder is replaced and not kept."""
    with contextlib.suppress(ManifestError):
        for file in read_manifest(folder).files:
            if file.path not in intact:
                (folder / file.path).unlink(missing_ok=True)


def link(file: Path, target: Path) -> None:
    """Gives a file of the lake a second name; copies where the file system has no hard links."""
    with contextlib.suppress(OSError):
        os.link(file, target)
        return
    shutil.copyfile(file, target)
