"""A person's decision about a source, refused where it would lead to nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from medpipe.catalog.choices import Choice, merged_choice, replace_choice, store_choice, with_choice
from medpipe.catalog.load import CatalogError
from medpipe.catalog.selection import load_catalog, why_not_fetched
from medpipe.catalog.source import Source, Status
from medpipe.settings import Settings


def enable(
    source_id: str,
    settings: Settings,
    *,
    accept_terms: bool = False,
    accept_size: bool = False,
    folder: Path | None = None,
) -> Source:
    """Makes a source an asset.

    Args:
        source_id: its id in the catalog, or its exact title.
        settings: where the decision is kept; its credential is needed for a gated source of the hub.
        accept_terms: the person accepted the publisher's terms.
        accept_size: the person has room for the files.
        folder: the person's own copy of the files, used instead of the hub.

    Returns:
        The entry as it is from now on.

    Raises:
        CatalogError: no such source, it could not be fetched, or the folder is not there or does not hold
            the files that the entry means: nothing is decided then.
    """
    known = load_catalog(settings).get(source_id)
    choice = Choice(
        enabled=True,
        # None leaves what was accepted before as it is.
        accept_terms=accept_terms or None,
        accept_size=accept_size or None,
        folder=None if folder is None else Path.cwd() / folder.expanduser(),
    )
    source = with_choice(known, merged_choice(settings.home, known.id, choice))
    # Of a source that is never fetched the folder is not what is wrong.
    if choice.folder is not None and source.status is Status.AVAILABLE and not choice.folder.is_dir():
        problem = "is no folder" if choice.folder.exists() else "is not there"
        raise CatalogError(f"{choice.folder} {problem}; give --folder the folder that holds the files")
    if (reason := why_not_fetched(source, settings, stored=known)) is not None:
        raise CatalogError(reason)
    if folder is not None:
        _check_folder(source, settings)
    store_choice(settings.home, known.id, choice)
    return source


def disable(source_id: str, settings: Settings) -> Source:
    """Takes a source out of the graph and forgets what was decided: own copy, accepted terms and size.

    Args:
        source_id: its id in the catalog, or its exact title.
        settings: where the decision is kept.

    Returns:
        The entry as it was until now.

    Raises:
        CatalogError: no such source.
    """
    source = load_catalog(settings).get(source_id)
    replace_choice(settings.home, source.id, Choice(enabled=False))
    return source


def _check_folder(source: Source, settings: Settings) -> None:
    """Looks for the files that the entry means, without a walk through all else that the folder holds.

    Raises:
        CatalogError: nothing in the folder matches, or a link that is meant leads out of it.
    """
    from medpipe.ingest.choice import choose
    from medpipe.ingest.errors import FetchError
    from medpipe.ingest.folder import list_folder, locate_folder
    from medpipe.ingest.snapshot import choose_in_folder
    from medpipe.ingest.subsets import is_published

    if any(is_published(file) for file in source.files):
        return  # which files a published subset means is found when they are fetched
    try:
        choose_in_folder(source, settings)
    except FetchError as error:
        told = error
        with suppress(FetchError):  # a link that leads out of the folder: then the first error is told
            folder, root = locate_folder(source, settings)
            everything = list_folder(folder, root=root, patterns=["**"]).paths
            try:
                choose(source, everything, place=str(folder))
            except FetchError as of_everything:
                told = of_everything
        raise CatalogError(f"name the folder that holds the files as published: {told}") from told
