"""Which columns a snapshot's files have, by a look at their first records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.archives import unpacked
from medpipe.ingest.choice import files_of
from medpipe.ingest.errors import IngestError
from medpipe.ingest.readers import read_rows
from medpipe.lake.dataset import Dataset

ROWS, FILES = 500, 3
"""So many records of so many files of each entry are looked at."""
RARE = 0.1
"""A column that fewer records have is optional: it may come and go with the order of the rows."""

_KINDS = {str: "text", bool: "truth value", int: "number", float: "number", list: "list", dict: "object"}


@dataclass(frozen=True)
class Column:
    """A field of published records."""

    share: float
    """Of the records looked at, those that have it."""
    kind: str | None
    """What most of its values are; None if all are null."""


def first_columns(source: Source, raw: Dataset) -> dict[str, dict[str, Column]]:
    """The columns of each entry of `files` by its path pattern; none for records that are no objects.

    Raises:
        IngestError: a file or the snapshot is gone, or cannot be read as the entry says.
    """
    found: dict[str, dict[str, Column]] = {}
    for file in source.files:
        paths = files_of(raw, file)
        if paths:
            name = ":".join(part for part in (file.path, file.member, file.subset) if part)
            found.setdefault(name, {}).update(_columns(paths[:FILES], file))
    return found


def _columns(paths: list[Path], file: SourceFile) -> dict[str, Column]:
    rows, kinds = 0, dict[str, Counter[str]]()
    for path in paths:
        with unpacked(path, member=file.member, file_format=file.format) as members:
            member = next(iter(members), None)
            for value in [] if member is None else _first_values(member.path, file):
                rows += 1
                for name, cell in value.items():
                    kinds.setdefault(str(name), Counter())[_KINDS.get(type(cell), "")] += 1
    return {
        name: Column(share=counts.total() / rows, kind=_most(counts))
        for name, counts in sorted(kinds.items())
    }


def _first_values(path: Path, file: SourceFile) -> list[dict[str, Any]]:
    batches = read_rows(
        path,
        file_format=file.format,
        columns=file.columns,
        records=file.records,
        record_start=file.record_start,
        max_rows=ROWS,
        batch_rows=ROWS,
    )
    return [value for batch in batches for value in batch.values if isinstance(value, dict)]


def _most(counts: Counter[str]) -> str | None:
    named = Counter({kind: count for kind, count in counts.items() if kind})
    return named.most_common(1)[0][0] if named else None


def changed_columns(source: Source, before: Dataset, after: Dataset) -> list[str]:
    """What is different in the columns of two snapshots, in words; nothing where the first cannot be read."""
    try:
        old = first_columns(source, before)
    except IngestError:
        return []
    try:
        new = first_columns(source, after)
    except IngestError as error:
        return [f"its files cannot be read any more ({error})"]
    changes = []
    for pattern in sorted(old.keys() & new.keys()):
        said = _differences(old[pattern], new[pattern])
        if said:
            changes.append(f"the columns of {pattern} changed: {', '.join(said)}")
    return changes


def _differences(old: dict[str, Column], new: dict[str, Column]) -> list[str]:
    gone = [f"'{name}' is gone" for name in old if name not in new and old[name].share >= RARE]
    come = [f"'{name}' is new" for name in new if name not in old and new[name].share >= RARE]
    other = [
        f"'{name}' is {new[name].kind} instead of {old[name].kind}"
        for name in old.keys() & new.keys()
        if old[name].kind and new[name].kind and old[name].kind != new[name].kind
    ]
    return [*gone, *come, *sorted(other)]
