"""A person's decision about a source, refused where it would lead to nothing."""

from __future__ import annotations

from pathlib import Path

from medpipe.catalog.choices import Choice, forget_folder, merged_choice, store_choice, with_choice
from medpipe.catalog.load import CatalogError
from medpipe.catalog.selection import load_catalog, why_not_fetched
from medpipe.catalog.source import Source
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
        source_id: its id in the catalog.
        settings: where the decision is kept; its credential is needed for a gated source of the hub.
        accept_terms: the person accepted the publisher's terms.
        accept_size: the person has room for the files.
        folder: the person's own copy of the files, used instead of the hub.

    Returns:
        The entry as it is from now on.

    Raises:
        CatalogError: no such source, it could not be fetched, or the folder does not hold the files that
            the entry means: nothing is decided then.
        FetchError: the folder is not there: nothing is decided then.
    """
    known = load_catalog(settings).get(source_id)
    choice = Choice(
        enabled=True,
        # None leaves what was accepted before as it is.
        accept_terms=accept_terms or None,
        accept_size=accept_size or None,
        folder=None if folder is None else Path.cwd() / folder.expanduser(),
    )
    source = with_choice(known, merged_choice(settings.home, source_id, choice))
    if (reason := why_not_fetched(source, settings)) is not None:
        raise CatalogError(reason)
    if folder is not None:
        _check_folder(source, settings)
    store_choice(settings.home, source_id, choice)
    return source


def disable(source_id: str, settings: Settings) -> None:
    """Takes a source out of the graph and forgets the person's own copy of it.

    Raises:
        CatalogError: no such source.
    """
    load_catalog(settings).get(source_id)
    store_choice(settings.home, source_id, Choice(enabled=False))
    forget_folder(settings.home, source_id)


def _check_folder(source: Source, settings: Settings) -> None:
    """Looks for the files that the entry means.

    Raises:
        CatalogError: nothing in the folder matches.
        FetchError: the folder is not there.
    """
    from medpipe.ingest.choice import choose
    from medpipe.ingest.errors import FetchError
    from medpipe.ingest.folder import list_folder, locate_folder
    from medpipe.ingest.subsets import is_published

    folder, root = locate_folder(source, settings)
    listing = list_folder(folder, root=root, patterns=["**"])
    if any(is_published(file) for file in source.files):
        return  # which files a published subset means is found when they are fetched
    try:
        choose(source, listing.paths, place=str(folder))
    except FetchError as error:
        raise CatalogError(f"name the folder that holds the files as published: {error}") from error
