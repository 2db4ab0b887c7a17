"""Boilerplate: lines and sentences that stand in a great many documents of a source.

A passage is boilerplate if it has at least `minimum_characters` letters and stands in more than
`maximum_documents` documents of the source and in more than `maximum_share` of them. It is removed from all
of them. Never boilerplate, however often they are repeated, are passages with values and doses, fields of
records, what introduces a list, and what was asked (see `passage_kernel`).
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

from medpipe.curate.defaults import PASSAGE_CHARACTERS, PASSAGE_DOCUMENTS, PASSAGE_SHARE
from medpipe.lake.files import naming_a_full_disk

Hashes = NDArray[np.uint64]

_ASCII_WEIGHT = 3
_SHOWN_BYTES = 600
_PASSAGES = pl.Schema({"hash": pl.UInt64, "passage": pl.String, "removed": pl.Int64})
_BATCH_ROWS = 4096
_PARTITION_BITS = 6


class RepeatedPassagesConfig(BaseModel):
    """When a passage is boilerplate; all three have to hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_characters: int = Field(default=PASSAGE_CHARACTERS, ge=1)
    """Least number of letters of a passage; spaces, punctuation and symbols of layout do not count, and three
    letters of ASCII count as one."""
    maximum_documents: int = Field(default=PASSAGE_DOCUMENTS, ge=1)
    """In more documents of a source than this."""
    maximum_share: float = Field(default=PASSAGE_SHARE, ge=0, le=1)
    """In a larger share of the source's documents than this."""


class RepeatedPassages(NamedTuple):
    """The boilerplate of a source."""

    hashes: Hashes
    """In ascending order."""
    documents: NDArray[np.int64]
    """In how many documents each stands."""


class Removed(NamedTuple):
    """Texts without their boilerplate."""

    texts: pl.Series
    """String, row-aligned; empty where nothing but role markers is left, null where null was given."""
    counts: pl.Series
    """UInt32: passages removed from each text."""
    passages: pl.DataFrame
    """Each once: `hash` (UInt64), `passage` (String, its beginning), `removed` (Int64, how often)."""


def find_repeated_passages(
    documents: pl.LazyFrame,
    *,
    folder: Path,
    counted: pl.Series | None = None,
    config: RepeatedPassagesConfig = RepeatedPassagesConfig(),  # noqa: B008 - frozen
) -> RepeatedPassages:
    """Finds the boilerplate of a source.

    Counts documents, not occurrences. The hashes of all passages go to 64 partitions on disk, so memory
    holds a batch and one partition.

    Args:
        documents: column `text`; read in bounded batches.
        folder: for temporary files, which are removed again; 8 bytes a passage.
        counted: Boolean, row for row: which documents count, such as those that nothing has rejected; all if
            unset.
        config: thresholds.

    Returns:
        The repeated passages, for `remove_repeated`.

    Raises:
        DiskFullError: the disk filled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with naming_a_full_disk(folder), tempfile.TemporaryDirectory(prefix=".passages-", dir=folder) as name:
        paths = [Path(name) / f"{number:02d}" for number in range(1 << _PARTITION_BITS)]
        rows = _write_partitions(documents, paths, counted, config)
        limit = max(config.maximum_documents, config.maximum_share * rows)
        # The partition is the hash's upper bits, so one after the other they are in order.
        found = [_frequent(path, limit) for path in paths if path.exists()]
    return RepeatedPassages(
        np.concatenate([np.zeros(0, np.uint64), *(hashes for hashes, _ in found)]),
        np.concatenate([np.zeros(0, np.int64), *(documents for _, documents in found)]),
    )


def _write_partitions(
    documents: pl.LazyFrame, paths: Sequence[Path], counted: pl.Series | None, config: RepeatedPassagesConfig
) -> int:
    """Writes the hashes of the passages of each document that counts; returns how many do."""
    rows = done = 0
    with ExitStack() as stack:
        files: dict[Path, BinaryIO] = {}
        for batch in documents.select("text").collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
            texts = batch["text"]
            if counted is not None:
                texts = texts.filter(counted.slice(done, batch.height))
            done += batch.height
            rows += len(texts)
            hashes = np.sort(_passages(texts, config))
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
    hashes, spans = _space_for(text.offsets, config)
    counts, nothing = np.zeros(len(texts), np.uint32), np.zeros(0, np.uint64)
    keep = np.zeros(0, np.uint8)
    least = config.minimum_characters * _ASCII_WEIGHT
    written = mark_rows(text.data, text.offsets, tables(), least, nothing, keep, counts, hashes, spans[:0])
    return hashes[:written]


def _space_for(
    offsets: NDArray[np.int64], config: RepeatedPassagesConfig
) -> tuple[Hashes, NDArray[np.int64]]:
    # Each letter stands in one sentence and in one line.
    size = 2 * (int(offsets[-1] - offsets[0]) // config.minimum_characters) + 1
    return np.empty(size, np.uint64), np.empty((size, 2), np.int64)


def _frequent(path: Path, limit: float) -> tuple[Hashes, NDArray[np.int64]]:
    values, counts = np.unique(np.fromfile(path, np.uint64), return_counts=True)
    return values[counts > limit], counts[counts > limit]


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
        repeated: hashes from `find_repeated_passages`.
        config: the one they were found with.
    """
    from medpipe.curate.passage_kernel import drop_marked, mark_rows, tables
    from medpipe.records.fold_kernel import fold_column
    from medpipe.records.utf8 import strings_of, utf8_of

    counts = np.zeros(len(texts), np.uint32)
    text = utf8_of(texts)
    hashes, spans = _space_for(text.offsets, config)
    written = 0
    if len(repeated) and len(text.data):
        keep = np.ones(len(text.data), np.uint8)
        ordered, least = np.ascontiguousarray(repeated), config.minimum_characters * _ASCII_WEIGHT
        written = mark_rows(text.data, text.offsets, tables(), least, ordered, keep, counts, hashes, spans)
    lost = pl.Series(texts.name, counts)
    if not written:
        return Removed(texts, lost, _PASSAGES.to_frame())
    kept, ends = np.empty(len(text.data), np.uint8), np.zeros(len(texts) + 1, np.int64)
    drop_marked(text.data, text.offsets, keep, tables().kinds, kept, ends)
    shorter = strings_of(kept, ends)
    has_content = pl.Series(np.diff(fold_column(shorter).ends) > 0)
    shorter = shorter.zip_with(has_content, pl.Series([""]))
    passages = _different(text.data, hashes[:written], spans[:written])
    return Removed(shorter.zip_with(lost > 0, texts).alias(texts.name), lost, passages)


def _different(data: NDArray[np.uint8], hashes: Hashes, spans: NDArray[np.int64]) -> pl.DataFrame:
    """Each passage once, as it is first written."""
    different, first, often = np.unique(hashes, return_index=True, return_counts=True)
    shown = [data[start : min(end, start + _SHOWN_BYTES)].tobytes() for start, end in spans[first]]
    texts = [text.decode("utf-8", "ignore").strip() for text in shown]
    return pl.DataFrame({"hash": different, "passage": texts, "removed": often}, schema=_PASSAGES)
