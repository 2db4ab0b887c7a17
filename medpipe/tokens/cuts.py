"""Where a source's documents are cut into chunks: at documents whose own hash marks them.

Content-defined chunking, as rsync-like tools and backup programs cut bytes (Muthitacharoen et al. 2001,
"A low-bandwidth network file system"; Xia et al. 2016, "FastCDC"), here with documents as the smallest unit.
Those cut at a mark once the chunk is long enough, so that one early change can move many later cuts before
both sides meet again. Here a mark cuts if the *mark* before it is far enough back: whether a document ends a
chunk depends on the text since the mark before it alone, and one document taken out, put in or changed
touches at most three chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from medpipe.lake.digest import digest_value
from medpipe.tokens.sample import draw

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str, str]
"""Split and tier of a chunk."""

_SEED = 0x5EED
"""So that marks and other draws on the same ids have nothing to do with each other."""
_HALF = np.uint64(32)
_CHUNKS_A_SOURCE = 32
_LEAST_BYTES = 1 << 18


@dataclass(frozen=True)
class Chunk:
    """Documents of one split and tier between two cuts, in order."""

    first_row: int
    """Place of its first document among those of the source."""
    split: str
    tier: str
    documents: int
    text_bytes: int
    digest: str
    """Of ids, languages and texts in order; empty where none was asked for."""


def least_text(total_bytes: int | None, *, most: int) -> int:
    """Text that a chunk of a source holds at least: so little that a small source has several chunks, too.

    A source that stays between two powers of two of bytes keeps its cuts.

    Args:
        total_bytes: of the source's text; None if nobody has counted it.
        most: bytes that are enough for a chunk of any source.

    Returns:
        Bytes: `most`, or a power of two of which the source has 16 to 32, if that is less.
    """
    if total_bytes is None:
        return most
    share = max(1, -(-total_bytes // _CHUNKS_A_SOURCE))
    return min(most, max(_LEAST_BYTES, 1 << (share - 1).bit_length()))


def is_marked(
    drawn: npt.NDArray[np.uint64], text_bytes: npt.NDArray[np.int64], *, spread: int
) -> npt.NDArray[np.bool_]:
    """Which documents are marked: as likely as their share of `spread` bytes, by their own hash alone.

    Args:
        drawn: a number for each id, see `draw`; shape (documents,).
        text_bytes: UTF-8 bytes of each text; shape (documents,).
        spread: on average so many bytes of text have one mark; at most 2**30.
    """
    share = np.minimum(text_bytes, spread).astype(np.uint64) << _HALF
    return np.asarray((drawn >> _HALF) * np.uint64(spread) < share)


def chunk_ends(
    marked: npt.NDArray[np.bool_], text_bytes: npt.NDArray[np.int64], *, since_mark: int, least: int
) -> tuple[npt.NDArray[np.bool_], int]:
    """Which documents end a chunk: the marked ones that lie `least` bytes or more behind the mark before.

    No chunk but the last of a run is shorter than `least` bytes. With a spread of `least` bytes, where cuts
    are closest, a chunk has 2.7 times as many on average.

    Args:
        marked: see `is_marked`; shape (documents,).
        text_bytes: UTF-8 bytes of each text; shape (documents,).
        since_mark: text since the last mark, or since the beginning, before the first of these documents.
        least: bytes.

    Returns:
        Which documents are the last of a chunk; the text since the last mark behind all of them.
    """
    ends = since_mark + np.cumsum(text_bytes)
    marks = np.flatnonzero(marked)
    is_end = np.zeros(len(marked), np.bool_)
    is_end[marks] = np.diff(ends[marks], prepend=0) >= least
    last = int(ends[marks[-1]]) if len(marks) else 0
    return is_end, int(ends[-1]) - last if len(ends) else since_mark


def _rows_of_runs(batch: pl.DataFrame) -> Iterator[tuple[Key, npt.NDArray[np.int64]]]:
    """The rows of each split and tier."""
    rows = batch.select("split", "tier").with_row_index("at")
    for split, tier, at in rows.group_by("split", "tier", maintain_order=True).agg("at").iter_rows():
        yield (split, tier), np.asarray(at, np.int64)


class _Digest:
    """Digest of documents in order, however they are fed."""

    def __init__(self) -> None:
        self._described, self._text = hashlib.sha256(), hashlib.sha256()

    def update(self, described: pa.LargeStringArray, text: pa.LargeStringArray) -> None:
        for digest, array in ((self._described, described), (self._text, text)):
            _, offsets, data = array.buffers()
            ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
            if data is not None:
                digest.update(memoryview(data)[int(ends[0]) : int(ends[-1])])

    def hexdigest(self) -> str:
        return digest_value([self._described.hexdigest(), self._text.hexdigest()])


@dataclass
class _Run:
    """The documents of one split and tier so far."""

    since_mark: int = 0
    first_row: int | None = None
    documents: int = 0
    text_bytes: int = 0
    digest: _Digest = field(default_factory=_Digest)


class ChunkCutter:
    """Cuts the documents of a source, however they come in batches."""

    def __init__(self, least: int, *, digesting: bool = True) -> None:
        """Starts before the first document.

        Args:
            least: text bytes of a chunk, at least; see `chunk_ends`.
            digesting: whether chunks get a digest.
        """
        self._least, self._digesting = least, digesting
        self._rows = 0
        self._runs: dict[Key, _Run] = {}
        self.chunks: list[Chunk] = []
        """Those that have ended."""

    def cut(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Takes the next documents.

        Args:
            batch: columns `id`, `lang`, `split`, `tier`, `text`, all String.

        Returns:
            The batch with `text_bytes`, `chunk` (the first row of the document's chunk) and `place` (of the
            document in it), all Int64.
        """
        if batch.is_empty():
            empty = pl.lit(None, dtype=pl.Int64)
            return batch.with_columns(text_bytes=empty, chunk=empty, place=empty)
        size = pl.col("text").str.len_bytes().cast(pl.Int64)
        batch = batch.with_columns(
            text_bytes=size,
            described=pl.format("{}\t{}\t{}\n", "id", "lang", size),
        )
        sizes, drawn = batch["text_bytes"].to_numpy(), draw(batch["id"], seed=_SEED)
        columns = (batch["described"].to_arrow(), batch["text"].to_arrow()) if self._digesting else None
        chunk, place = np.empty(batch.height, np.int64), np.empty(batch.height, np.int64)
        for key, at in _rows_of_runs(batch):
            run = self._runs.setdefault(key, _Run())
            marked = is_marked(drawn[at], sizes[at], spread=self._least)
            is_end, run.since_mark = chunk_ends(
                marked, sizes[at], since_mark=run.since_mark, least=self._least
            )
            stops = np.flatnonzero(is_end) + 1
            for start, stop in pairwise(np.unique(np.r_[0, stops, len(at)]).tolist()):
                rows, run = at[start:stop], self._runs[key]
                if run.first_row is None:
                    run.first_row = self._rows + int(rows[0])
                chunk[rows] = run.first_row
                place[rows] = np.arange(run.documents, run.documents + len(rows))
                run.documents += len(rows)
                run.text_bytes += int(sizes[rows].sum())
                if columns is not None:
                    run.digest.update(*(column.take(rows) for column in columns))
                if is_end[stop - 1]:
                    self._end(key, run)
        self._rows += batch.height
        return batch.drop("described").with_columns(chunk=pl.Series(chunk), place=pl.Series(place))

    def _end(self, key: Key, run: _Run) -> None:
        if run.first_row is None:
            return
        digest = run.digest.hexdigest() if self._digesting else ""
        self.chunks.append(Chunk(run.first_row, *key, run.documents, run.text_bytes, digest))
        self._runs[key] = _Run(run.since_mark)

    def finish(self) -> list[Chunk]:
        """Ends the last chunks; returns all."""
        for key, run in list(self._runs.items()):
            self._end(key, run)
        return self.chunks


def find_chunks(batches: Iterable[pl.DataFrame], *, least: int) -> list[Chunk]:
    """Cuts all documents of a source; see `ChunkCutter`."""
    cutter = ChunkCutter(least)
    for batch in batches:
        cutter.cut(batch)
    return cutter.finish()
