"""Bringing a source's files into the lake as one immutable snapshot, `raw/<source>/<revision>/`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medpipe.catalog.selection import SIZE_LIMIT_BYTES, why_not_allowed, why_not_fetched
from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.choice import Choice, choose
from medpipe.ingest.errors import FetchError
from medpipe.ingest.exclusive import exclusive
from medpipe.ingest.folder import (
    FolderListing,
    copy_file,
    folder_revision,
    hash_files,
    list_folder,
    locate_folder,
    top_level_files,
)
from medpipe.ingest.held import HeldRevision, card_licence, read_held, settle
from medpipe.ingest.held import accept as accept_held
from medpipe.ingest.hub import HubClient, Listing
from medpipe.ingest.revisions import is_commit, locked_commit
from medpipe.ingest.stored import ROOM, check_sha1, intact_files, link, reusable, store
from medpipe.ingest.subsets import DECLARATIONS, is_published, resolve_files
from medpipe.lake.dataset import Dataset, current
from medpipe.lake.layout import Lake
from medpipe.settings import Settings

Progress = Callable[[str], None]
CARD = "README.md"


@dataclass(frozen=True)
class FetchedSnapshot:
    """A source's files in the lake."""

    dataset: Dataset
    reused: bool
    """Whether the files were there already."""
    held: HeldRevision | None = None
    """A newer revision that waits for a person; the snapshot is that of the revision before."""
    newly_held: bool = False
    """Whether it was held back only now."""

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
    accept: bool = False,
    accept_revision: str | None = None,
    by: str = "fetch",
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
        accept: take the revision that was held back, if there is one.
        accept_revision: take this revision, whatever changed in it.
        by: who accepts, for the record.
        progress: told what happens, in short sentences.

    Returns:
        The snapshot; it is the source's current one from now on. A revision that shrank, or changed its
        columns or its licence, is held back: then it is the one that was current before.

    Raises:
        FetchError: the source must not or cannot be fetched; the snapshot before it stays current.
        DiskFullError: no space left; the snapshot before it stays current.
    """
    refusal = why_not_allowed(source, settings)
    if refusal is not None:
        raise FetchError(refusal)
    say = progress or (lambda message: None)
    guard = lake.raw(source.id) / ".fetch.lock"
    with exclusive(guard, on_wait=lambda: say(f"{source.id}: waiting for another process that fetches it")):
        if accept or accept_revision:
            taken = accept_held(source, lake, by=by, revision=accept_revision or None)
            say(f"{source.id}: {f'revision {taken} is accepted' if taken else 'nothing is held back'}")
        known = read_held(lake, source.id)
        is_local = source.folder is not None or settings.hub is not None
        if is_local:
            found = _fetch_folder(source, lake=lake, settings=settings, force=force, say=say)
        else:
            found = _fetch_hub(source, lake=lake, settings=settings, refresh=refresh, force=force, say=say)
        held = settle(
            source,
            lake,
            found.dataset,
            max_shrink=settings.refresh.max_shrink,
            is_newest=is_local or refresh,
        )
        if held is None:
            # Not asked for what is new: what waits goes on waiting.
            return replace(found, held=None if known is None else read_held(lake, source.id))
        say(held.message)
        return FetchedSnapshot(
            current(lake, ROOM, source.id), reused=True, held=held, newly_held=held != known
        )


def choose_in_folder(source: Source, settings: Settings) -> tuple[FolderListing, Choice]:
    """The files of a source's folder, and which of them its entry means.

    Raises:
        FetchError: there is no folder, a train pattern matches nothing, or a link leads out of the folder.
    """
    folder, root = locate_folder(source, settings)
    listing = list_folder(folder, root=root, patterns=_patterns(source))
    resolved = {}
    if _published(source):
        declarations = top_level_files(folder, DECLARATIONS, root=root)
        resolved = _resolved(source, listing.paths, declarations, place=str(folder))
    return listing, choose(source, listing.paths, place=str(folder), resolved=resolved)


def _fetch_folder(
    source: Source, *, lake: Lake, settings: Settings, force: bool, say: Progress
) -> FetchedSnapshot:
    listing, choice = choose_in_folder(source, settings)
    folder = listing.folder
    hashes = hash_files(listing, choice.paths)
    revision = folder_revision(hashes, choice.facts()["resolved"])
    present = None if force else reusable(source, lake, revision)
    if present is not None:
        return FetchedSnapshot(present, reused=True)
    _name_missing(source, choice, say)
    check_sha1(choice, lambda path: folder / path)
    _, root = locate_folder(source, settings)
    say(f"{source.id}: copying {len(choice.paths)} files from {folder}")
    dataset = store(
        source,
        lake,
        revision,
        choice,
        kind="local" if source.folder is not None else "folder",
        place=lambda path, target: copy_file(listing, path, target, sha256=hashes[path]),
        licence=card_licence(top_level_files(folder, [CARD], root=root).get(CARD)),
    )
    return FetchedSnapshot(dataset, reused=False)


def _fetch_hub(
    source: Source, *, lake: Lake, settings: Settings, refresh: bool, force: bool, say: Progress
) -> FetchedSnapshot:
    repository = str(source.repository)  # a source without a folder has a repository
    keep = not refresh or is_commit(source.revision)
    commit = locked_commit(lake, repository=repository, revision=source.revision) if keep else None
    present = reusable(source, lake, commit) if commit is not None and not force else None
    if present is not None:
        return FetchedSnapshot(present, reused=True)
    # Not even the list of files is asked for without the consent and the credential that a set needs.
    if (refusal := why_not_fetched(source, settings)) is not None:
        raise FetchError(refusal)
    hub = HubClient.from_settings(settings)
    listing = hub.list_files(repository, revision=commit or source.revision, progress=say)
    # The catalog may not know, or not yet, that the publisher asks for consent.
    asked = source.model_copy(update={"gated": source.gated or listing.gated})
    if (refusal := why_not_fetched(asked, settings)) is not None:
        raise FetchError(refusal)
    if commit is None:
        commit = listing.commit
        say(f"{source.id}: '{source.revision}' of {repository} is {commit}")
        present = None if force else reusable(source, lake, commit)
    dataset = present or _download(source, lake, hub, listing, say=say)
    return FetchedSnapshot(dataset, reused=present is not None)


def _download(source: Source, lake: Lake, hub: HubClient, listing: Listing, *, say: Progress) -> Dataset:
    repository = str(source.repository)
    place = f"{repository} at {listing.commit}"
    partial = lake.raw(source.id) / f".partial-{listing.commit}"

    def arrived(paths: Sequence[str]) -> dict[str, Path]:
        return hub.download(repository, listing, paths, into=partial, progress=say)

    resolved = {}
    if _published(source):
        declarations = arrived([name for name in DECLARATIONS if name in listing.files])
        resolved = _resolved(source, sorted(listing.files), declarations, place=place)
    choice = choose(source, listing.files, place=place, resolved=resolved)
    _name_missing(source, choice, say)
    total = sum(listing.files[path].size or 0 for path in choice.paths)
    if total > SIZE_LIMIT_BYTES and not source.accept_size:
        raise FetchError(
            f"{source.id} has {total:,} bytes: `medpipe sources enable {source.id} --accept-size` if the "
            "disk has room"
        )
    there = intact_files(lake.raw(source.id) / listing.commit)
    files = arrived([path for path in choice.paths if path not in there]) | there
    check_sha1(choice, lambda path: files[path])
    dataset = store(
        source,
        lake,
        listing.commit,
        choice,
        kind="hub",
        place=lambda path, target: link(files[path], target),
        licence=listing.licence,
    )
    for leftover in lake.raw(source.id).glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return dataset


def _published(source: Source) -> dict[int, SourceFile]:
    """The entries that name a published subset or split, by position."""
    return {number: file for number, file in enumerate(source.files) if is_published(file)}


def _patterns(source: Source) -> list[str]:
    """What of a folder must be listed: a published subset may lie anywhere in it."""
    own = [file.path for file in source.files] + [file.lookup.path for file in source.files if file.lookup]
    return ["**"] if _published(source) else own


def _resolved(
    source: Source, paths: Sequence[str], declarations: Mapping[str, Path], *, place: str
) -> dict[int, tuple[str, ...]]:
    entries = _published(source)
    files = resolve_files(
        list(entries.values()),
        name=(source.repository or place).rpartition("/")[2],
        paths=paths,
        declarations=declarations,
        place=place,
    )
    return dict(zip(entries, files, strict=True))


def _name_missing(source: Source, choice: Choice, say: Progress) -> None:
    for pattern in choice.missing:
        say(f"{source.id}: nothing matches '{pattern}'; going on without it")
