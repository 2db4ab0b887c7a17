"""Reading catalog files: every mistake of every file at once, each with its line and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medpipe.catalog.explain import Finding, find_mistakes
from medpipe.catalog.places import Document, Location, SyntaxMistake, read_json, read_yaml
from medpipe.catalog.slug import slug
from medpipe.catalog.source import Source, Status

DATASET_INFO = "dataset_info.json"
_PATTERNS = ("*.yaml", "*.yml", DATASET_INFO)
_RELATED = frozenset(
    {"repository", "folder", "page", "status", "status_note", "files", "layout", "uses", "kind"}
)
"""Fields that the rules of `Source` across fields look at."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong in a catalog file."""

    file: Path
    line: int | None
    """From 1; None where the file has no lines that can be read."""
    entry: str | None
    """The entry's id or its name in the registry."""
    message: str
    """What is wrong, and the fix."""

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: '{self.entry}': {self.message}" if self.entry else f"{place}: {self.message}"


class CatalogError(ValueError):
    """One or more catalog files are wrong; the message lists every mistake with its place."""

    def __init__(self, message: str, mistakes: tuple[Mistake, ...] = ()) -> None:
        super().__init__(message)
        self.mistakes = mistakes

    @classmethod
    def of(cls, mistakes: Iterable[Mistake]) -> CatalogError:
        """The error that lists these mistakes."""
        listed = tuple(mistakes)
        number = "a mistake" if len(listed) == 1 else f"{len(listed)} mistakes"
        return cls("\n  ".join([f"the catalog has {number}:", *map(str, listed)]), listed)


@dataclass
class _File:
    """A catalog file that is being read."""

    path: Path
    document: Document
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, location: Location) -> int:
        return self.document.line(location)

    def add(self, entry: str | None, location: Location, findings: Iterable[Finding]) -> None:
        for finding in findings:
            line = self.line((*location, *finding.location))
            self.mistakes.append(Mistake(self.path, line, entry, finding.message))


@dataclass(frozen=True)
class _Found:
    """An entry, and where it stands."""

    source: Source | None
    """None if it does not validate; its mistakes are noted then."""
    id: str | None
    """As it is written, also where the entry does not validate."""
    name: str
    file: _File
    location: Location

    def __str__(self) -> str:
        return f"{self.file.path}:{self.file.line(self.location)}"


def builtin_folder() -> Path:
    """Folder of the catalog files that ship with the package."""
    return Path(str(resources.files("medpipe.catalog"))) / "sources"


def builtin_sources() -> tuple[Source, ...]:
    """The entries that ship with the package, in the order of their files."""
    return read_catalog_files(sorted(builtin_folder().glob("*.yaml")))


def catalog_files(folder: Path) -> list[Path]:
    """The catalog files of a folder: every `*.yaml`, `*.yml` and `dataset_info.json`."""
    return [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern))]


def read_catalog_folder(folder: Path, *, taken: Mapping[str, str] | None = None) -> tuple[Source, ...]:
    """A person's own entries: those of all `catalog_files` of a folder.

    Raises:
        CatalogError: a file is wrong; all mistakes of all files are listed.
    """
    return read_catalog_files(catalog_files(folder), taken=taken)


def read_catalog_files(
    paths: Iterable[Path], *, taken: Mapping[str, str] | None = None, check_folders: bool = False
) -> tuple[Source, ...]:
    """Reads and validates catalog files; a `.json` file is a registry as LLaMA-Factory has it.

    Args:
        paths: the files, in the order in which their entries are wanted.
        taken: ids that are in use elsewhere, and where.
        check_folders: whether the local folder of an available entry must be there. Where definitions load it
            need not, as one disk that is not mounted must not stop all other sources.

    Raises:
        CatalogError: a file cannot be parsed, an entry does not validate, an id stands twice, or a folder
            that is checked is not there; every mistake of every file is listed.
        OSError: a file cannot be opened.
    """
    mistakes: list[Mistake] = []
    entries: list[_Found] = []
    owners: dict[str, object] = dict(taken or {})
    for path in paths:
        try:
            file = _File(path, _parse(path))
        except SyntaxMistake as error:
            mistakes.append(Mistake(path, error.line, None, str(error)))
            continue
        for key in file.document.repeated_keys:
            message = f"'{key.location[-1]}' stands twice, first in line {key.first_line}; remove one"
            file.mistakes.append(Mistake(path, key.line, None, message))
        if check_folders and path.suffix != ".json":  # a registry's entry without its file is only listed
            _note_missing_folders(file)
        for found in _registry(file, owners) if path.suffix == ".json" else _catalog(file):
            if found.id in owners:
                message = f"the id '{found.id}' is taken by {owners[found.id]}; choose another"
                file.add(found.name, found.location, [Finding(("id",), message)])
            if found.id is not None:
                owners.setdefault(found.id, found)
            entries.append(found)
        mistakes += sorted(file.mistakes, key=lambda mistake: mistake.line or 0)
    if mistakes:
        raise CatalogError.of(mistakes)
    return tuple(found.source for found in entries if found.source is not None)


def _parse(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SyntaxMistake(f"not UTF-8 (byte {error.start}); save it as UTF-8", line) from None
    return read_json(text) if path.suffix == ".json" else read_yaml(text)


def _catalog(file: _File) -> Iterator[_Found]:
    """The entries of a YAML file; the mistakes of those that do not validate are noted."""
    content = file.document.value
    unknown = [key for key in content if key != "sources"] if isinstance(content, dict) else []
    misspelt = [key for key in unknown if difflib.get_close_matches(str(key).lower(), ["sources"], n=1)]
    for key in unknown:
        fix = "did you mean 'sources'?" if key in misspelt else "only 'sources' stands at the top; remove it"
        if key not in misspelt and key in Source.model_fields:
            fix = "it belongs into an entry of 'sources'"
        file.add(None, (), [Finding((key,), f"unknown field '{key}'; {fix}")])
    entries = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        expected = "expected a mapping with a list 'sources'; see an entry of medpipe"
        # A misspelt name is told already.
        file.add(None, (), [Finding(("sources",), expected)] if entries is not None or not misspelt else [])
        return
    for number, entry in enumerate(entries):
        written = entry.get("id") if isinstance(entry, dict) else None
        source_id = written if isinstance(written, str) else None
        name = str(written or f"entry {number + 1}")
        yield _validated(file, name, source_id, entry, ("sources", number))


def _registry(file: _File, taken: Container[str]) -> Iterator[_Found]:
    """The same for a registry as LLaMA-Factory has it."""
    # Only where there is a registry: most installations have none.
    from medpipe.catalog.dataset_info import registry_entry, registry_mistakes

    content = file.document.value
    if not isinstance(content, dict):
        file.add(None, (), [Finding((), "expected an object with one object a data set")])
        return
    for name, value in content.items():
        findings = registry_mistakes(value)
        if findings:
            file.add(name, (name,), findings)
            yield _Found(None, slug(name, taken=taken), name, file, (name,))
        else:
            entry = registry_entry(name, value, file.path.parent, taken=taken)
            yield _validated(file, name, entry["id"], entry, (name,))


def _validated(file: _File, name: str, source_id: str | None, entry: Any, location: Location) -> _Found:
    source: Source | None = None
    try:
        source = Source.model_validate(entry)
    except ValidationError:
        file.add(name, location, find_mistakes(Source, entry, related=_RELATED))
    if source is not None and source.folder is not None:
        source = source.model_copy(update={"folder": (file.path.parent / source.folder).resolve()})
    return _Found(source, source_id, name, file, location)


def _note_missing_folders(file: _File) -> None:
    """Notes the folders that are not there, also those of entries that do not validate."""
    content = file.document.value
    entries = content.get("sources") if isinstance(content, dict) else None
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(entry, dict) or entry.get("status", Status.AVAILABLE) != Status.AVAILABLE:
            continue
        folder = entry.get("folder")
        if isinstance(folder, str) and not (path := file.path.parent / folder).is_dir():
            message = f"folder: {path.resolve()} is not there; correct it (it is relative to this file)"
            file.add(entry.get("id"), ("sources", number), [Finding(("folder",), message)])
