"""Boilerplate: lines and sentences that stand in a great many documents of a source.

A passage is boilerplate if it has at least `minimum_characters` letters and stands in more than
`maximum_documents` documents of the source and in more than `maximum_share` of them. It is removed from all
of them. A passage with a digit, or with a Chinese numeral before a unit (`一日三次`), is never boilerplate:
doses, ages and values stay, however often they are repeated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from medpipe.lake.files import naming_a_full_disk

Hashes = NDArray[np.uint64]

_BATCH_ROWS = 4096
_PARTITION_BITS = 6


class RepeatedPassagesConfig(BaseModel):
    """When a passage is boilerplate; all three have to hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_characters: int = Field(default=20, ge=1)
    """Least number of letters of a passage; spaces, punctuation and symbols of layout do not count."""
    maximum_documents: int = Field(default=100, ge=1)
    """In more documents of a source than this."""
    maximum_share: float = Field(default=0.001, ge=0, le=1)
    """In a larger share of the source's documents than this."""


class Removed(NamedTuple):
    """Texts without their boilerplate."""

    texts: pl.Series
    """String, row-aligned; empty where nothing but role markers is left, null where null was given."""
    counts: pl.Series
    """UInt32: passages removed from each text."""


def find_repeated_passages(
    documents: pl.LazyFrame,
    *,
    folder: Path,
    config: RepeatedPassagesConfig = RepeatedPassagesConfig(),  # noqa: B008 - frozen
) -> Hashes:
    """Finds the boilerplate of a source.

    Counts documents, not occurrences. The hashes of all passages go to 64 partitions on disk, so memory
    holds a batch and one partition.

    Args:
        documents: column `text`; read in bounded batches.
        folder: for temporary files, which are removed again; 8 bytes a passage.
        config: thresholds.

    Returns:
        Hashes of the repeated passages, in ascending order, for `remove_repeated`.

    Raises:
        DiskFullError: the disk filled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with naming_a_full_disk(folder), tempfile.TemporaryDirectory(prefix=".passages-", dir=folder) as name:
        paths = [Path(name) / f"{number:02d}" for number in range(1 << _PARTITION_BITS)]
        rows = _write_partitions(documents, paths, config)
        limit = max(config.maximum_documents, config.maximum_share * rows)
        # The partition is the hash's upper bits, so one after the other they are in order.
        found = [_frequent(path, limit) for path in paths if path.exists()]
    return np.concatenate([np.zeros(0, np.uint64), *found])


def _write_partitions(documents: pl.LazyFrame, paths: Sequence[Path], config: RepeatedPassagesConfig) -> int:
    """Writes the hashes of each document's passages; returns the number of documents."""
    rows = 0
    with ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}
        for batch in documents.select("text").collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
            rows += batch.height
            hashes = np.sort(_passages(batch["text"], config))
            numbers = (hashes >> np.uint64(64 - _PARTITION_BITS)).astype(np.int64)
            ends = np.cumsum(np.bincount(numbers, minlength=len(paths)))
            for path, part in zip(paths, np.split(hashes, ends[:-1]), strict=True):
                if len(part):
                    if path not in files:
                        files[path] = stack.enter_context(path.open("wb"))
                    files[path].write(part.data)
    return rows


def _passages(texts: pl.Series, config: RepeatedPassagesConfig) -> Hashes:
    from medpipe.curate.passage_kernel import mark_rows, tables
    from medpipe.records.utf8 import utf8_of

    text = utf8_of(texts)
    # Each letter stands in one sentence and in one line.
    size = int(text.offsets[-1] - text.offsets[0])
    hashes = np.empty(2 * (size // config.minimum_characters) + 1, np.uint64)
    counts, nothing = np.zeros(len(texts), np.uint32), np.zeros(0, np.uint64)
    keep = np.zeros(0, np.uint8)
    written = mark_rows(
        text.data, text.offsets, tables(), config.minimum_characters, nothing, keep, counts, hashes
    )
    return hashes[:written]


def _frequent(path: Path, limit: float) -> Hashes:
    values, counts = np.unique(np.fromfile(path, np.uint64), return_counts=True)
    return values[counts > limit]


def remove_repeated(
    texts: pl.Series,
    repeated: Hashes,
    *,
    config: RepeatedPassagesConfig = RepeatedPassagesConfig(),  # noqa: B008 - frozen
) -> Removed:
    """Removes passages from texts.

    Everything else stays byte for byte; spaces before a passage go with it, and a line of which nothing is
    left goes with its line feed.

    Args:
        texts: String; may hold nulls.
        repeated: from `find_repeated_passages`.
        config: the one they were found with.
    """
    from medpipe.curate.passage_kernel import drop_marked, mark_rows, tables
    from medpipe.records.fold_kernel import fold_column
    from medpipe.records.utf8 import strings_of, utf8_of

    counts = np.zeros(len(texts), np.uint32)
    text = utf8_of(texts)
    if len(repeated) and len(text.data):
        keep = np.ones(len(text.data), np.uint8)
        ordered, nothing = np.ascontiguousarray(repeated), np.zeros(0, np.uint64)
        mark_rows(
            text.data, text.offsets, tables(), config.minimum_characters, ordered, keep, counts, nothing
        )
    lost = pl.Series(texts.name, counts)
    if not counts.any():
        return Removed(texts, lost)
    kept, ends = np.empty(len(text.data), np.uint8), np.zeros(len(texts) + 1, np.int64)
    drop_marked(text.data, text.offsets, keep, tables().kinds, kept, ends)
    shorter = strings_of(kept, ends)
    has_content = pl.Series(np.diff(fold_column(shorter).ends) > 0)
    shorter = shorter.zip_with(has_content, pl.Series([""]))
    return Removed(shorter.zip_with(lost > 0, texts).alias(texts.name), lost)
