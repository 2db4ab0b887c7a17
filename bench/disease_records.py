"""Disease records as published, repeated until there are enough, one JSON object a line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Where the real records lie."""
EMPTY_EVERY = 500
"""Every so many records one says nothing, so that both sides have something to reject."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Input:
    """A published set of disease records."""

    name: str
    expand: tuple[str, ...]
    """Fields that hold an object whose members count as fields of the record."""
    read: Callable[[], Iterator[Record]]
    name_in: str | None
    """Field with the object that has the record's `name`; None if the record itself has it."""


def _lines(path: Path, encoding: str = "utf-8") -> Iterator[Record]:
    yield from (json.loads(line) for line in path.read_text(encoding).splitlines() if line.strip())


def _medicalkgqa() -> Iterator[Record]:
    for path in sorted((RECORDS / "medicalkgqa").glob("medical_*.json")):
        yield from json.loads(path.read_text()).values()


def _nlp_guild() -> Iterator[Record]:
    folder = RECORDS / "nlp-guild_medical-data"
    yield from _lines(folder / "medical.json")
    yield from _lines(folder / "medical.gb18030.json", "gb18030")
    yield from _lines(folder / "heart_lines_dup.json")
    for name in ("heart_array.json", "heart_array_v2.json"):
        yield from json.loads((folder / name).read_text())


INPUTS = (
    Input("medicalkgqa", ("gaishu_info", "symptom_data", "food_info"), _medicalkgqa, "gaishu_info"),
    Input("nlp-guild_medical-data", (), _nlp_guild, None),
)


def input_of(name: str) -> Input:
    """The input of a name."""
    return next(each for each in INPUTS if each.name == name)


def write_records(chosen: Input, path: Path, *, records: int) -> None:
    """Writes so many records; each copy of one has its number behind its name, so that no two are equal.

    Both sides read lines of JSON, the one format that `datasets` and medpipe read alike.
    """
    published = list(chosen.read())
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(itertools.islice(itertools.cycle(published), records)):
            holder = record if chosen.name_in is None else record[chosen.name_in]
            named = holder | {"name": f"{holder['name']} {number // len(published) + 1}"}
            written = named if chosen.name_in is None else record | {chosen.name_in: named}
            if number % EMPTY_EVERY == EMPTY_EVERY - 1:
                written = {field: _emptied(value) for field, value in written.items()}
            file.write(json.dumps(written, ensure_ascii=False) + "\n")


def _emptied(value: Any) -> Any:
    if isinstance(value, dict):
        return {field: _emptied(inner) for field, inner in value.items()}
    return [] if isinstance(value, list) else ""
