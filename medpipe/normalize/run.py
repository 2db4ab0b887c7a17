"""One source from its raw snapshot to a normalized data set."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.readers import RowBatch, matching_files, read_rows
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.normalize import CODE_VERSION
from medpipe.normalize.parts import PartWriter
from medpipe.normalize.records import Normalized, Origin, normalize_batch
from medpipe.records.kinds import record_columns, rejected_columns

ROOM = "normalized"
BATCH_ROWS = 2_048
PROGRESS_SECONDS = 1.0
WORKERS = 2
"""Batches in work at a time; with one more waiting this bounds memory."""

Progress = Callable[[str], None]


class NormalizeError(ValueError):
    """A source cannot be normalised at all; the message names it and the fix."""


@dataclass
class _Counts:
    """The funnel of a source."""

    published: int = 0
    rejected: int = 0
    records: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)

    def add(self, published: int, batch: Normalized) -> None:
        self.published += published
        self.rejected += batch.rejected.height
        self.records += batch.records.height
        self.by_reason.update(batch.rejected["reason"].to_list())

    def facts(self) -> dict[str, int]:
        return {
            "published": self.published,
            "kept": self.published - self.rejected,
            "rejected": self.rejected,
            "records": self.records,
        }


def recipe_of(source: Source, raw: Dataset) -> Recipe:
    """What a normalized data set depends on: the rows, and what the catalog says about reading them."""
    config = source.model_dump(mode="json", include={"id", "files", "kind", "layout", "language"})
    return Recipe(inputs={"raw": raw.digest}, code_version=CODE_VERSION, config=config)


def normalize_source(
    source: Source,
    raw: Dataset,
    *,
    lake: Lake,
    force: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Turns a source's raw snapshot into records of its kind.

    The data set `normalized/<source id>` holds `part-*.parquet` with the schema of the kind and
    `rejected/part-*.parquet` with the schema `Rejected`; its facts count rows published, kept and rejected
    (published is always the sum of the other two), by file and by reason.

    Args:
        source: the catalog entry.
        raw: its snapshot.
        lake: where the result goes.
        force: make it again even if the same recipe was made before.
        progress: takes a line about once a second.

    Raises:
        NormalizeError: none of the source's files is in the snapshot.
        DiskFullError: the disk filled; what was there before stays.
    """
    recipe = recipe_of(source, raw)
    if not force and (found := find_reusable(lake, ROOM, source.id, recipe=recipe)):
        return Built(found, reused=True)
    files = _files(source, raw)
    total, by_file = _Counts(), {}
    with publish(lake, ROOM, source.id, recipe=recipe) as draft:
        kept_schema, rejected_schema = record_columns(source.kind), rejected_columns()
        with (
            PartWriter(draft.path, schema=kept_schema) as kept,
            PartWriter(draft.path / "rejected", schema=rejected_schema) as rejected,
        ):
            for path, file in files:
                origin = Origin(
                    source=source,
                    revision=raw.digest,
                    path=path.relative_to(raw.path).as_posix(),
                    file=file,
                )
                counts = _Counts()
                for published, batch in _batches(path, origin, progress):
                    kept.write(batch.records)
                    rejected.write(batch.rejected)
                    counts.add(published, batch)
                    total.add(published, batch)
                by_file[origin.path] = counts.facts()
        draft.content_digest = digest_value([kept.digest(), rejected.digest()])
        draft.rows = kept.rows
        draft.rows_by_file = kept.rows_by_part | {
            f"rejected/{name}": rows for name, rows in rejected.rows_by_part.items()
        }
        draft.facts = _facts(source, total, by_file, files)
    return Built(draft.dataset, reused=False)


def _files(source: Source, raw: Dataset) -> list[tuple[Path, SourceFile]]:
    """Files of the snapshot in the order of the patterns; the first pattern that matches one wins."""
    found: dict[Path, SourceFile] = {}
    for file in source.files:
        for path in matching_files(raw.path, file.path):
            found.setdefault(path, file)
    if not found:
        patterns = ", ".join(repr(file.path) for file in source.files)
        raise NormalizeError(
            f"{source.id}: no file of {raw.path} matches {patterns}; correct 'files' in its catalog entry"
        )
    return list(found.items())


def _batches(path: Path, origin: Origin, progress: Progress | None) -> Iterator[tuple[int, Normalized]]:
    """Rows published and what became of them, batch by batch in the order of the file."""
    started = said = time.monotonic()
    rows = 0
    for published, batch in _in_order(
        read_rows(path, file_format=origin.file.format, batch_rows=BATCH_ROWS), origin
    ):
        yield published, batch
        rows += published
        now = time.monotonic()
        if progress is not None and now - said >= PROGRESS_SECONDS:
            progress(_progress_line(origin, rows, now - started))
            said = now
    if progress is not None:
        progress(_progress_line(origin, rows, time.monotonic() - started))


def _in_order(batches: Iterator[RowBatch], origin: Origin) -> Iterator[tuple[int, Normalized]]:
    """Normalises a few batches side by side: most of the work is Polars, which lets other threads run."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="normalize") as pool:
        waiting: deque[tuple[int, Future[Normalized]]] = deque()
        for batch in batches:
            published = len(batch.rows) + len(batch.broken)
            waiting.append((published, pool.submit(normalize_batch, batch, origin)))
            if len(waiting) > WORKERS:
                published, future = waiting.popleft()
                yield published, future.result()
        for published, future in waiting:
            yield published, future.result()


def _progress_line(origin: Origin, rows: int, seconds: float) -> str:
    return f"{origin.source.id}: {origin.path}: {rows:,} rows, {rows / max(seconds, 1e-9):,.0f} rows/s"


def _facts(
    source: Source, total: _Counts, by_file: dict[str, dict[str, int]], files: list[tuple[Path, SourceFile]]
) -> dict[str, Any]:
    used = {file.path for _, file in files}
    return {
        "kind": source.kind.value,
        **total.facts(),
        "rejected_by_reason": dict(sorted(total.by_reason.items())),
        "by_file": by_file,
        "patterns_without_files": [file.path for file in source.files if file.path not in used],
    }
