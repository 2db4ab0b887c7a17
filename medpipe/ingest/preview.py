"""The first published rows of a source, for a person who wants to see what it is."""

from __future__ import annotations

from typing import Any

import orjson

from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.choice import files_of
from medpipe.ingest.formats import ARCHIVE_SUFFIXES
from medpipe.ingest.readers import read_rows
from medpipe.lake.dataset import Dataset, find_current
from medpipe.lake.error_words import HANDLED
from medpipe.lake.layout import Lake
from medpipe.lake.tombstones import read_tombstones

COLUMNS = 8
"""Most columns of a row that are shown; the others are only counted."""


def first_rows(source: Source, raw: Dataset, *, lake: Lake, most: int) -> list[dict[str, Any]]:
    """First rows of the files that each entry of `files` means, as their publisher wrote them.

    Archives are not unpacked for it, and files that lie in a store alone are not fetched. Nothing is shown
    of a source of which anything was withdrawn, since only the normalised records tell which rows these are.

    Args:
        source: the catalog entry.
        raw: its snapshot.
        lake: knows what was withdrawn.
        most: rows in all.

    Returns:
        `file`, `row` and the row's own columns, or `record` where it has none; the same keys in every row.
        Empty where nothing can be shown.

    Raises:
        TombstoneError: what was withdrawn cannot be read.
    """
    if _has_withdrawn(source, lake):
        return []
    found: list[dict[str, Any]] = []
    each = max(1, most // max(1, len(source.files)))
    for file in source.files:
        try:
            found += _rows_of(file, raw, most=min(each, most - len(found)))
        except HANDLED:
            continue  # the normalized asset says what is wrong with it
    names = list(dict.fromkeys(name for row in found for name in row))
    return [{name: row.get(name) for name in names} for row in found]


def _has_withdrawn(source: Source, lake: Lake) -> bool:
    tombstones = read_tombstones(lake)
    if not tombstones:
        return False
    records = find_current(lake, "normalized", source.id)
    # Without them nobody knows which rows are copies of what was withdrawn.
    return (
        bool(tombstones.of_source(source.id))
        or records is None
        or bool(records.manifest.facts.get("records_withdrawn"))
    )


def _rows_of(file: SourceFile, raw: Dataset, *, most: int) -> list[dict[str, Any]]:
    # Without its lake a snapshot is the files that are here.
    here = files_of(Dataset(raw.path, raw.manifest), file) if most > 0 else []
    path = next((each for each in here if each.suffix.lower() not in ARCHIVE_SUFFIXES), None)
    if path is None or not path.is_file():
        return []
    batches = read_rows(
        path,
        file_format=file.format,
        columns=file.columns,
        records=file.records,
        record_start=file.record_start,
        max_rows=most,
        batch_rows=most,
    )
    name = path.relative_to(raw.path).as_posix()
    return [
        {"file": name, "row": row, **_columns(value)}
        for batch in batches
        for row, value in zip(batch.rows, batch.values, strict=True)
    ]


def _columns(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {"record": _plain(value)}
    shown = {str(name): _plain(cell) for name, cell in list(value.items())[:COLUMNS]}
    return shown if len(value) <= COLUMNS else shown | {"more columns": len(value) - COLUMNS}


def _plain(cell: Any) -> Any:
    """A cell as a table can show it: lists and objects as JSON."""
    return orjson.dumps(cell, default=str).decode() if isinstance(cell, list | dict) else cell
