"""The fact tables behind the general Chinese articles, loaded from the package's YAML files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TABLES = (
    "general_places.yaml",
    "general_nature.yaml",
    "general_life.yaml",
    "general_science.yaml",
    "general_culture.yaml",
)


@dataclass(frozen=True)
class Entry:
    """One subject: its name, the value of every column and a few sentences of its own."""

    name: str
    values: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of subject (city, element, ...) with its entries and its ways to say things."""

    key: str
    noun: str
    lead: tuple[str, ...]
    aspect: dict[str, str]
    fields: dict[str, tuple[str, ...]]
    about: tuple[str, ...]
    entries: tuple[Entry, ...]


def load_facts(name: str) -> Any:
    """Reads one YAML file of the sample's fact tables.

    Args:
        name: file name inside the package's `facts` folder.

    Returns:
        The parsed document.
    """
    text = files("medpipe.sample").joinpath("facts", name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader either way


@cache
def load_kinds() -> tuple[Kind, ...]:
    """Reads all kinds with their entries.

    Returns:
        The kinds in the order of the tables; every run gives the same order.
    """
    patterns = load_facts("general_patterns.yaml")
    kinds = []
    for table in _TABLES:
        for key, content in load_facts(table).items():
            entries = tuple(_entry(content["columns"], row) for row in content["rows"])
            kinds.append(_kind(key, patterns[key], entries))
    return tuple(kinds)


@cache
def load_shared() -> dict[str, tuple[str, ...]]:
    """Reads the sentences that fit every kind.

    Returns:
        Tuples of patterns by their use, for example "closes".
    """
    return {key: tuple(value) for key, value in load_facts("general_shared.yaml").items()}


def _entry(columns: list[str], row: list[Any]) -> Entry:
    cells = [str(cell) for cell in row]
    values = dict(zip(columns, cells, strict=False))
    return Entry(name=values["name"], values=values, notes=tuple(cells[len(columns) :]))


def _kind(key: str, pattern: dict[str, Any], entries: tuple[Entry, ...]) -> Kind:
    return Kind(
        key=key,
        noun=pattern["noun"],
        lead=tuple(pattern["lead"]),
        aspect=dict(pattern["aspect"]),
        fields={column: tuple(ways) for column, ways in pattern["fields"].items()},
        about=tuple(pattern["about"]),
        entries=entries,
    )
