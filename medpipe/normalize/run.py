"""One source from its raw snapshot to a normalized data set."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from medpipe.catalog.source import Source
from medpipe.ingest.readers import read_batches
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.tombstones import Tombstones, read_tombstones
from medpipe.normalize import CODE_VERSION
from medpipe.normalize.files import label, opened_files
from medpipe.normalize.garbage import rare_collections
from medpipe.normalize.parts import PartWriter
from medpipe.normalize.records import Normalized, Origin, normalize_batch
from medpipe.normalize.withdrawn import (
    WithdrawnPlace,
    is_still_withdrawn,
    places_of_withdrawn,
    without_withdrawn,
)
from medpipe.records.kinds import identity_columns, record_columns, rejected_columns

ROOM = "normalized"
BATCH_ROWS = 2_048
PROGRESS_SECONDS = 1.0
WORKERS = 2
"""Batches in work at a time; with one more waiting this bounds memory."""

_ABOUT_FILES = {"note", "published_rows", "sha1"}
"""What the catalog says of a file that changes none of its records."""

Progress = Callable[[str], None]


@dataclass
class _Counts:
    """The funnel of a source."""

    published: int = 0
    rejected: int = 0
    records: int = 0
    withdrawn: int = 0
    """Records that were taken out, some of rows that other records are kept of."""
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


def recipe_of(
    source: Source,
    raw: Dataset,
    tombstones: Tombstones = Tombstones(),  # noqa: B008 - frozen
) -> Recipe:
    """What a normalized data set depends on.

    The rows, what the catalog says about reading them, and what was withdrawn from them.
    """
    config = source.model_dump(mode="json", include={"id", "kind", "layout", "language", "simplify"})
    config["files"] = [file.model_dump(mode="json", exclude=_ABOUT_FILES) for file in source.files]
    if withdrawn := tombstones.of_source(source.id):
        config["withdrawn"] = withdrawn
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
    (published is always the sum of the other two), by file and by reason. Members of an archive count as
    files of their own.

    A record that was withdrawn, or whose content was, is taken out; a row of which nothing is left is
    rejected as `withdrawn`, without its text. Of a source that was withdrawn as a whole every row is. The
    facts name what was taken out (id, content key, file, row, part); once one of it is withdrawn no more,
    the data set is made again.

    Args:
        source: the catalog entry.
        raw: its snapshot.
        lake: where the result goes, and the tombstones are.
        force: make it again even if the same recipe was made before.
        progress: takes a line about once a second.

    Raises:
        NormalizeError: none of the source's files is in the snapshot, or a lookup is wrong.
        IngestError: a file cannot be read as the catalog says.
        TombstoneError: what was withdrawn cannot be read.
        DiskFullError: the disk filled; what was there before stays.
    """
    tombstones = read_tombstones(lake)
    recipe = recipe_of(source, raw, tombstones)
    found = None if force else find_reusable(lake, ROOM, source.id, recipe=recipe)
    if found is not None and is_still_withdrawn(found, tombstones):
        return Built(found, reused=True)
    total, by_file, used = _Counts(), {}, set[str]()
    gone: list[WithdrawnPlace] = []
    schema, hashed = record_columns(source.record_kind), identity_columns(source.record_kind)
    # The id is a hash of the content already.
    digest_columns = [name for name in schema if name not in hashed]
    with publish(lake, ROOM, source.id, recipe=recipe) as draft:
        with (
            PartWriter(draft.path, schema=schema, digest_columns=digest_columns) as kept,
            PartWriter(draft.path / "rejected", schema=rejected_columns()) as rejected,
            ThreadPoolExecutor(WORKERS, thread_name_prefix="normalize") as pool,
            contextlib.closing(opened_files(source, raw)) as files,
            rare_collections(),
        ):
            for path, origin in files:
                counts = _Counts()
                for published, batch in normalized_batches(path, origin, pool, progress):
                    left = without_withdrawn(batch, tombstones)
                    kept.write(left.records)
                    rejected.write(left.rejected)
                    counts.add(published, left)
                    total.add(published, left)
                    total.withdrawn += batch.records.height - left.records.height
                    if source.id not in tombstones.sources:
                        gone += places_of_withdrawn(batch.records, tombstones)
                by_file[origin.path] = counts.facts()
                used.add(label(origin.file))
        draft.content_digest = digest_value([kept.digest(), rejected.digest()])
        draft.rows = kept.rows
        draft.rows_by_file = kept.rows_by_part | {
            f"rejected/{name}": rows for name, rows in rejected.rows_by_part.items()
        }
        draft.facts = {
            "kind": source.record_kind.value,
            **total.facts(),
            "rejected_by_reason": dict(sorted(total.by_reason.items())),
            "by_file": by_file,
            **({"records_withdrawn": total.withdrawn} if total.withdrawn else {}),
            **({"withdrawn": gone} if gone else {}),
            "patterns_without_files": [label(file) for file in source.files if label(file) not in used],
        }
    return Built(draft.dataset, reused=False)


def normalized_batches(
    path: Path, origin: Origin, pool: ThreadPoolExecutor, progress: Progress | None
) -> Iterator[tuple[int, Normalized]]:
    """Rows published and what became of them, batch by batch in the order of the file.

    Args:
        path: the unpacked file.
        origin: where it comes from.
        pool: normalises up to `WORKERS` batches side by side.
        progress: takes a line about once a second.

    Raises:
        IngestError: the file cannot be read as the catalog says.
        NormalizeError: a row does not go together with the second table of its file.
    """
    started = said = time.monotonic()
    rows = 0
    for published, batch in _in_order(path, origin, pool):
        yield published, batch
        rows += published
        now = time.monotonic()
        if progress is not None and now - said >= PROGRESS_SECONDS:
            progress(_progress_line(origin, rows, now - started))
            said = now
    if progress is not None:
        progress(_progress_line(origin, rows, time.monotonic() - started))


def _in_order(path: Path, origin: Origin, pool: ThreadPoolExecutor) -> Iterator[tuple[int, Normalized]]:
    """Normalises a few batches side by side: most of the work is Polars, which lets other threads run."""
    file = origin.file
    batches = read_batches(
        path,
        file_format=file.format,
        columns=file.columns,
        records=file.records,
        record_start=file.record_start,
        max_rows=file.max_rows,
        batch_rows=BATCH_ROWS,
    )
    waiting: deque[tuple[int, Future[Normalized]]] = deque()
    for batch in batches:
        waiting.append((len(batch), pool.submit(normalize_batch, batch, origin)))
        if len(waiting) > WORKERS:
            published, future = waiting.popleft()
            yield published, future.result()
    for published, future in waiting:
        yield published, future.result()


def _progress_line(origin: Origin, rows: int, seconds: float) -> str:
    return f"{origin.source.id}: {origin.path}: {rows:,} rows, {rows / max(seconds, 1e-9):,.0f} rows/s"
