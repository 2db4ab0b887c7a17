"""A dry run: what becomes of a source's files as they lie in a folder, without a lake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from medpipe.catalog.source import Source, SourceFile, Status
from medpipe.ingest.errors import FetchError, IngestError
from medpipe.ingest.folder import list_folder, locate_folder
from medpipe.ingest.patterns import matching
from medpipe.ingest.snapshot import choose_in_folder
from medpipe.ingest.stored import check_sha1
from medpipe.lake.dataset import Dataset
from medpipe.lake.manifest import Manifest, Recipe
from medpipe.normalize.errors import NormalizeError
from medpipe.normalize.files import label, opened_files
from medpipe.normalize.records import Origin
from medpipe.normalize.run import WORKERS, Progress, normalized_batches
from medpipe.records.kinds import Kind, content_columns
from medpipe.settings import Settings

REVISION = "trial"
"""Stands where a record of a snapshot has the digest of its files."""

_UNREAD = (Status.LISTED, Status.EXCLUDED)


@dataclass(frozen=True, kw_only=True)
class TriedFile:
    """What became of the rows of one file."""

    source: str
    path: str
    """Within the source's folder, with the member's name behind that of its archive; the entry's patterns
    where no file was found."""
    status: Status
    kind: Kind | None = None
    published: int = 0
    """Rows read."""
    kept: int = 0
    """Rows that gave a record, counted from the records themselves."""
    records: int = 0
    """Records of those rows: a row can give several."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rows that gave none, by reason."""
    expected: int | None = None
    """Rows as the catalog counts them, on the last file of each pattern."""
    counted: int = 0
    """What `expected` is compared with: rows read of all files of the same pattern."""
    note: str | None = None
    """What the catalog says of the file, or why it was not read."""
    error: str | None = None
    """Why it cannot be read at all, and the fix."""
    shown: tuple[dict[str, Any], ...] = ()
    """First records: `row`, `part`, `lang` and the content columns of the kind."""
    shown_rejected: tuple[dict[str, Any], ...] = ()
    """First rejected rows: `row`, `reason`, `detail`, `raw`."""

    @property
    def adds_up(self) -> bool:
        """Whether every row read is kept or rejected, and none is both."""
        return self.published == self.kept + sum(self.rejected.values())

    @property
    def count_differs(self) -> bool:
        """Whether the rows read are not as many as the catalog counts."""
        return self.expected is not None and self.counted != self.expected


def try_source(
    source: Source,
    *,
    settings: Settings | None = None,
    max_rows: int | None = None,
    show: int = 0,
    progress: Progress | None = None,
) -> Iterator[TriedFile]:
    """Normalises the files of a source where they lie and says of each what became of its rows.

    Nothing is written. Of the records only counts and the first few are held.

    Args:
        source: the catalog entry, with a local folder or one in the folder hub.
        settings: name the folder hub; from the environment if unset.
        max_rows: most rows that are read of a file; all of them if unset.
        show: so many first records and so many first rejected rows of the source are kept to be shown.
        progress: takes a line about once a second.

    Yields:
        One entry a file, in the order of the catalog entry's patterns. A file that cannot be read has an
        `error`, and the files after it follow; a listed or excluded source, and one without local files, is
        not read, for the reason in `note`.
    """
    settings = settings or Settings()
    if source.status in _UNREAD:
        yield from _unread(source, settings)
        return
    if source.folder is None and settings.hub is None:
        note = "no local files: name their folder as 'folder' in the entry, or the folder hub as MEDPIPE_HUB"
        yield TriedFile(source=source.id, path=_patterns(source), status=source.status, note=note)
        return
    try:
        limited = _limited(source, max_rows)
        raw = _in_place(limited, settings)
        yield from _counted(_tried(limited, raw, show, progress))
        for pattern in raw.manifest.facts["missing"]:
            note = "no file matches; a source can do without its validation and test files"
            yield TriedFile(source=source.id, path=pattern, status=source.status, note=note)
    except (IngestError, NormalizeError, OSError) as error:
        yield TriedFile(source=source.id, path=_patterns(source), status=source.status, error=str(error))


def _patterns(source: Source) -> str:
    return ", ".join(label(file) for file in source.files)


def _unread(source: Source, settings: Settings) -> Iterator[TriedFile]:
    try:
        folder, root = locate_folder(source, settings)
        patterns = [file.path for file in source.files]
        there = list_folder(folder, root=root, patterns=patterns).paths
        paths = sorted({path for pattern in patterns for path in matching(there, pattern)})
    except FetchError:
        paths = []
    for path in paths or [_patterns(source)]:
        yield TriedFile(source=source.id, path=path, status=source.status, note=source.status_note)


def _limited(source: Source, max_rows: int | None) -> Source:
    """The entry with fewer rows a file; the catalog's counts then say nothing."""
    if max_rows is None:
        return source
    files = [
        file.model_copy(update={"max_rows": min(max_rows, file.max_rows or max_rows), "published_rows": None})
        for file in source.files
    ]
    return source.model_copy(update={"files": tuple(files)})


def _in_place(source: Source, settings: Settings) -> Dataset:
    """The source's folder as if it were a snapshot of the lake."""
    listing, choice = choose_in_folder(source, settings)
    check_sha1(choice, lambda path: listing.folder / path)
    manifest = Manifest(
        room="raw",
        name=source.id,
        digest=REVISION,
        recipe=Recipe(inputs={}, code_version=REVISION),
        rows=0,
        bytes=0,
        files=(),
        facts=choice.facts(),
    )
    return Dataset(listing.folder, manifest)


def _tried(
    source: Source, raw: Dataset, show: int, progress: Progress | None
) -> Iterator[tuple[SourceFile, TriedFile]]:
    records_left = rejected_left = show
    with (
        ThreadPoolExecutor(WORKERS, thread_name_prefix="trial") as pool,
        closing(opened_files(source, raw)) as files,
    ):
        for path, origin in files:
            each = _try_file(path, origin, pool, progress, (records_left, rejected_left))
            records_left -= len(each.shown)
            rejected_left -= len(each.shown_rejected)
            yield origin.file, each


def _try_file(
    path: Path,
    origin: Origin,
    pool: ThreadPoolExecutor,
    progress: Progress | None,
    show: tuple[int, int],
) -> TriedFile:
    """Counts a file's rows; `show` limits the records and the rejected rows that are held."""
    published = kept = records = 0
    reasons: Counter[str] = Counter()
    shown: list[dict[str, Any]] = []
    shown_rejected: list[dict[str, Any]] = []
    error = None
    kind = origin.source.record_kind
    columns = ["row", "part", "lang", *(name for name in content_columns(kind) if name != "tier")]
    try:
        for rows, batch in normalized_batches(path, origin, pool, progress):
            published += rows
            kept += batch.records["row"].n_unique()
            records += batch.records.height
            reasons.update(batch.rejected["reason"].to_list())
            shown += batch.records.head(show[0] - len(shown)).select(columns).to_dicts()
            shown_rejected += _rejected_rows(batch.rejected.head(show[1] - len(shown_rejected)))
    except (IngestError, NormalizeError, OSError) as problem:
        error = str(problem)
    return TriedFile(
        source=origin.source.id,
        path=origin.path,
        status=origin.source.status,
        kind=kind,
        published=published,
        kept=kept,
        records=records,
        rejected=dict(reasons.most_common()),
        note=origin.file.note,
        error=error,
        shown=tuple(shown),
        shown_rejected=tuple(shown_rejected),
    )


def _rejected_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.select("row", "reason", "detail", "raw").to_dicts()


def _counted(tried: Iterable[tuple[SourceFile, TriedFile]]) -> Iterator[TriedFile]:
    """Compares the rows of each pattern's files with the catalog's count, on the last of them."""
    last: tuple[SourceFile, TriedFile] | None = None
    counted = 0
    for file, each in tried:
        if last is not None:
            same = last[0] is file
            yield last[1] if same else replace(last[1], expected=last[0].published_rows, counted=counted)
            counted = counted if same else 0
        counted += each.published
        last = (file, each)
    if last is not None:
        yield replace(last[1], expected=last[0].published_rows, counted=counted)
