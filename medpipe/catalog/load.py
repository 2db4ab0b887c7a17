"""Reading catalog files: every mistake of a file at once, each with its place and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from medpipe.catalog.dataset_info import read_dataset_info
from medpipe.catalog.layouts import Layout
from medpipe.catalog.source import Source

DATASET_INFO = "dataset_info.json"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The compiled loader where there is one: the catalog is read whenever definitions load."""


class CatalogError(ValueError):
    """One or more catalog files are wrong; the message lists every mistake with its place."""


def builtin_sources() -> tuple[Source, ...]:
    """The entries that ship with the package, in the order of their files."""
    folder = resources.files("medpipe.catalog") / "sources"
    with resources.as_file(folder) as path:
        return read_catalog_files(sorted(path.glob("*.yaml")))


def read_catalog_folder(folder: Path) -> tuple[Source, ...]:
    """A person's own entries: every `*.yaml`, `*.yml` and `dataset_info.json` of a folder.

    Raises:
        CatalogError: a file is wrong; all mistakes of all files are listed.
    """
    paths = [path for pattern in ("*.yaml", "*.yml", DATASET_INFO) for path in sorted(folder.glob(pattern))]
    return read_catalog_files(paths)


def read_catalog_files(paths: Iterable[Path]) -> tuple[Source, ...]:
    """Reads and validates catalog files.

    Raises:
        CatalogError: a file cannot be parsed, an entry does not validate, or an id stands twice.
    """
    sources: dict[str, Source] = {}
    mistakes: list[str] = []
    for path in paths:
        for place, entry in _raw_entries(path, mistakes):
            try:
                source = Source.model_validate(entry)
            except ValidationError as error:
                mistakes += [f"{place}: {message}" for message in _explain(error)]
                continue
            if source.folder is not None:
                source = source.model_copy(update={"folder": (path.parent / source.folder).resolve()})
            if source.id in sources:
                mistakes.append(f"{place}: the id '{source.id}' is taken; choose another")
            sources[source.id] = source
    if mistakes:
        raise CatalogError("the catalog has mistakes:\n  " + "\n  ".join(mistakes))
    return tuple(sources.values())


def _raw_entries(path: Path, mistakes: list[str]) -> list[tuple[str, Any]]:
    """The unvalidated entries of one file with the place to name in messages."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.name == DATASET_INFO:
            return [(f"{path}, '{name}'", entry) for name, entry in read_dataset_info(text, path.parent)]
        content = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader
    except UnicodeDecodeError as error:
        mistakes.append(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8")
        return []
    except (yaml.YAMLError, ValueError) as error:
        mistakes.append(f"{path}: {error}")
        return []
    entries = content.get("sources") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        mistakes.append(f"{path}: expected a mapping with a list 'sources'")
        return []
    return [
        (f"{path}, '{entry.get('id', f'entry {number}') if isinstance(entry, dict) else number}'", entry)
        for number, entry in enumerate(entries)
    ]


def _explain(error: ValidationError) -> list[str]:
    """Validation errors in plain English, with the nearest allowed name for a misspelt field."""
    messages = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            name = str(item["loc"][-1])
            close = difflib.get_close_matches(name, sorted(_field_names()), n=1)
            hint = f"did you mean '{close[0]}'?" if close else "remove it"
            messages.append(f"unknown field '{place}'; {hint}")
        elif item["type"] == "missing":
            messages.append(f"field '{place}' is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            messages.append(f"{place}: {message}" if place else message)
    return messages


def _field_names() -> set[str]:
    """All field names of an entry and of what it nests."""
    names: set[str] = set()
    layouts: tuple[type[BaseModel], ...] = get_args(get_args(Layout)[0])
    todo: list[type[BaseModel]] = [Source, *layouts]
    while todo:
        model = todo.pop()
        for name, info in model.model_fields.items():
            names.add(name)
            candidates = (info.annotation, *get_args(info.annotation))
            todo += [
                c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel) and c not in layouts
            ]
    return names
