"""Checking catalog files before they are used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from medpipe.catalog.load import (
    CatalogError,
    Mistake,
    builtin_folder,
    catalog_files,
    read_catalog_files,
)
from medpipe.catalog.selection import taken_ids
from medpipe.catalog.source import Source


@dataclass(frozen=True)
class CheckedCatalog:
    """What a check found."""

    files: tuple[Path, ...]
    sources: tuple[Source, ...]
    """The entries; none if there is a mistake."""
    mistakes: tuple[Mistake, ...]


def check_catalog(path: Path) -> CheckedCatalog:
    """Reads a catalog file, a `dataset_info.json`, or all of them in a folder.

    Raises:
        CatalogError: the folder has no catalog file.
        OSError: the file cannot be opened.
    """
    files = catalog_files(path) if path.is_dir() else [path]
    if not files:
        raise CatalogError(f"{path} has no catalog file: expected *.yaml, *.yml or dataset_info.json")
    is_builtin = path.resolve().is_relative_to(builtin_folder().resolve())
    try:
        sources = read_catalog_files(files, taken={} if is_builtin else taken_ids())
    except CatalogError as error:
        return CheckedCatalog(tuple(files), (), error.mistakes)
    return CheckedCatalog(tuple(files), sources, ())


def entries_of(path: Path, *, ids: Collection[str] = ()) -> tuple[Source, ...]:
    """The entries of a catalog file or of a folder of them.

    Args:
        path: as for `check_catalog`.
        ids: only these entries, in the catalog's order; all of them if empty.

    Raises:
        CatalogError: a file has mistakes, or has no entry of an id.
        OSError: the file cannot be opened.
    """
    checked = check_catalog(path)
    if checked.mistakes:
        raise CatalogError.of(checked.mistakes)
    known = [source.id for source in checked.sources]
    if unknown := [name for name in ids if name not in known]:
        raise CatalogError(
            f"{path} has no entry {', '.join(map(repr, unknown))}; it has: {', '.join(known) or 'none'}"
        )
    return tuple(source for source in checked.sources if not ids or source.id in ids)
