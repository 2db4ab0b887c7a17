"""Atomic publication of data sets, and finding the one that a recipe already made.

A data set is a folder `<room>/<name>/<digest>/`. It is filled under a temporary name, its manifest is
written last, and a rename publishes it. `HEAD` beside the data sets names the one that is current.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from medpipe.lake.digest import digest_value, sha256_file
from medpipe.lake.draft import Built, Dataset, Draft, is_intact, is_whole
from medpipe.lake.files import (
    fsync_path,
    naming_a_full_disk,
    temporary_folder,
    temporary_sibling,
    write_bytes_atomically,
)
from medpipe.lake.layout import HEAD, Lake, safe_name
from medpipe.lake.manifest import (
    DatasetFile,
    Manifest,
    ManifestError,
    NothingPublishedError,
    Recipe,
    read_manifest,
    write_manifest,
)

__all__ = [
    "Built",
    "Dataset",
    "Draft",
    "current",
    "find_current",
    "find_reusable",
    "is_intact",
    "is_whole",
    "named_dataset",
    "publish",
    "set_current",
    "whole_datasets",
]


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
        StoreError: the store cannot be reached; nothing is to be seen there, and the next try sends it.
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
        if lake.store is not None:
            from medpipe.lake.remote import push

            push(lake, draft.published.path, draft.published.manifest, key=lake.key(draft.published.path))
        if make_current:
            set_current(lake, draft.published)


def set_current(lake: Lake, dataset: Dataset) -> None:
    """Makes a published data set the current one of its name.

    Raises:
        StoreError: the store cannot be reached.
    """
    folder = dataset.path.parent
    if lake.store is not None:
        from medpipe.lake.remote import set_head

        set_head(lake, lake.key(folder), dataset.digest)
    write_bytes_atomically(folder / HEAD, dataset.digest.encode())


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
        StoreError: the store cannot be reached.
    """
    folder, key = lake.room(room, *names), "/".join((room, *names))
    digest = _head(lake, folder)
    if digest is None:
        raise NothingPublishedError(f"{key} has no data set yet; materialise the asset {key} first")
    dataset = named_dataset(lake, room, *names, digest=digest)
    if dataset is None:
        raise ManifestError(f"{key}/{digest} is no data set any more; materialise the asset {key}")
    return dataset


def _head(lake: Lake, folder: Path) -> str | None:
    if lake.store is not None:
        from medpipe.lake.remote import head_of

        return head_of(lake, lake.key(folder))
    try:
        return (folder / HEAD).read_text().strip()
    except FileNotFoundError:
        return None


def named_dataset(lake: Lake, room: str, *names: str, digest: str) -> Dataset | None:
    """A data set by its digest; None where a store has none.

    Raises:
        ManifestError: its manifest cannot be read, or is not on the disk.
        StoreError: the store cannot be reached.
    """
    folder = lake.room(room, *names) / safe_name(digest)
    if lake.store is None:
        return Dataset(folder, read_manifest(folder))
    from medpipe.lake.remote import manifest_of

    manifest = manifest_of(lake, lake.key(folder))
    return None if manifest is None else Dataset(folder, manifest, lake)


def find_current(lake: Lake, room: str, *names: str) -> Dataset | None:
    """Like `current`, but None where there is nothing to read."""
    try:
        return current(lake, room, *names)
    except ManifestError:
        return None


def find_reusable(lake: Lake, room: str, *names: str, recipe: Recipe) -> Dataset | None:
    """The data set that this recipe already made, now made current again; None if there is none.

    Of several, the current one. A file that is missing or has another size makes a data set unusable.

    Raises:
        StoreError: the store cannot be reached.
    """
    for dataset in whole_datasets(lake, room, *names):
        if dataset.manifest.recipe.digest == recipe.digest:
            set_current(lake, dataset)
            # Whoever prunes looks at HEAD after taking a data set away; this looks after naming it.
            if lake.store is not None or is_whole(dataset.path, dataset.manifest):
                return dataset
    for dataset in _never_sent(lake, room, *names):
        if dataset.manifest.recipe.digest == recipe.digest:
            from medpipe.lake.remote import push

            push(lake, dataset.path, dataset.manifest, key=lake.key(dataset.path))
            set_current(lake, dataset)
            return dataset
    return None


def _never_sent(lake: Lake, room: str, *names: str) -> Iterator[Dataset]:
    """Data sets that were made here and that a store does not have: the upload was killed."""
    if lake.store is None:
        return
    from medpipe.lake.remote import digests_of, leftovers

    folder = lake.room(room, *names)
    for candidate in leftovers(folder, digests_of(lake, lake.key(folder))):
        try:
            manifest = read_manifest(candidate)
        except ManifestError:
            continue
        if is_whole(candidate, manifest):
            yield Dataset(candidate, manifest)


def whole_datasets(lake: Lake, room: str, *names: str) -> Iterator[Dataset]:
    """All data sets of a name that can be read, the current one first.

    A file that is missing or has another size makes a data set unusable. Of a store the manifests are read
    and no files: their objects were there when it was committed.

    Raises:
        StoreError: the store cannot be reached.
    """
    folder = lake.room(room, *names)
    if lake.store is not None:
        yield from _in_store(lake, room, *names)
        return
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


def _in_store(lake: Lake, room: str, *names: str) -> Iterator[Dataset]:
    from medpipe.lake.remote import digests_of

    for digest in digests_of(lake, lake.key(lake.room(room, *names))):
        try:
            dataset = named_dataset(lake, room, *names, digest=digest)
        except ManifestError:
            continue
        if dataset is not None:
            yield dataset


def _names(manifest: Manifest) -> set[str]:
    return {file.path for file in manifest.files}
