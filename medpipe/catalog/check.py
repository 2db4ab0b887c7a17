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


def check_catalog(path: Path, *, check_folders: bool = True) -> CheckedCatalog:
    """Reads a catalog file, a `dataset_info.json`, or all of them in a folder.

    Args:
        path: the file or the folder.
        check_folders: whether a local folder that is not there is a mistake of its entry.

    Raises:
        CatalogError: the path is not there, or the folder has no catalog file.
        OSError: the file cannot be opened.
    """
    if not path.exists():
        raise CatalogError(f"{path} is not there; give a catalog file, a dataset_info.json or their folder")
    files = catalog_files(path) if path.is_dir() else [path]
    if not files:
        raise CatalogError(f"{path} has no catalog file: expected *.yaml, *.yml or dataset_info.json")
    is_builtin = path.resolve().is_relative_to(builtin_folder().resolve())
    try:
        sources = read_catalog_files(
            files, taken={} if is_builtin else taken_ids(), check_folders=check_folders
        )
    except CatalogError as error:
        return CheckedCatalog(tuple(files), (), error.mistakes)
    return CheckedCatalog(tuple(files), sources, ())


def entries_of(path: Path, *, ids: Collection[str] = ()) -> tuple[Source, ...]:
    """The entries of a catalog file or of a folder of them.

    Args:
        path: as for `check_catalog`.
        ids: only these entries, by id or exact title, in the catalog's order; all of them if empty.

    Raises:
        CatalogError: the path is not there, a file has mistakes, or there is no entry of an id.
        OSError: the file cannot be opened.
    """
    # An entry without its folder is told by whatever reads it; the others can be read.
    checked = check_catalog(path, check_folders=False)
    if checked.mistakes:
        raise CatalogError.of(checked.mistakes)
    names = {name for source in checked.sources for name in (source.id, source.title)}
    if unknown := [name for name in ids if name not in names]:
        known = ", ".join(source.name for source in checked.sources) or "none"
        raise CatalogError(f"{path} has no entry {', '.join(map(repr, unknown))}; it has: {known}")
    return tuple(source for source in checked.sources if not ids or source.id in ids or source.title in ids)
