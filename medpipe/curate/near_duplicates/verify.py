"""Exact similarity of candidate pairs, on the shingles of their texts.

The estimate of 60 values has a standard deviation of 0.05 at a similarity of 0.8, so pairs around the
threshold are decided by their shingles. Those are written to disk for the documents concerned alone, and
at most `shingles_compared` of each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.near_duplicates.ahead import WORKERS, map_ahead
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.near_duplicates.documents import Documents, document_batches
from medpipe.curate.near_duplicates.shingles import hash_shingles
from medpipe.curate.near_duplicates.signatures import pieces

_CHUNK_PAIRS = 16_384
_GAP = 256
"""Hashes that are read in passing to the next sketch, instead of reading twice."""
_RUN = 262_144
"""Hashes read at a time, about."""
_SKETCHES = "sketches.u32"


@dataclass(frozen=True)
class Sketches:
    """Sorted hashes of some documents."""

    path: Path
    documents: NDArray[np.int64]
    """Which documents, in ascending order."""
    ends: NDArray[np.int64]
    """Those of the `n`-th are `[ends[n]:ends[n + 1]]` in the file."""


def write_sketches(
    documents: Mapping[str, Documents],
    starts: Mapping[str, int],
    wanted: NDArray[np.int64],
    *,
    folder: Path,
    config: NearDuplicateConfig,
) -> Sketches:
    """Writes the shingles of the wanted documents; reads only the sources that have any.

    Args:
        documents: frames with `text` and `lang` by source.
        starts: the position of each source's first document among all.
        wanted: positions in ascending order.
        folder: takes the file.
        config: n of the n-grams, and the most hashes of a document.
    """
    path = folder / _SKETCHES
    counts = [np.zeros(1, np.int64)]
    with path.open("wb") as file, ThreadPoolExecutor(WORKERS, thread_name_prefix="shingles") as pool:
        chosen = _chosen(documents, starts, wanted)
        for hashes, sizes in map_ahead(pool, partial(_sketch, config=config), chosen):
            file.write(hashes.data)
            counts.append(sizes)
    ends = np.cumsum(np.concatenate(counts))
    if len(ends) != len(wanted) + 1:
        raise RuntimeError("the documents changed since their signatures were computed; build again")
    return Sketches(path, wanted, ends)


def _chosen(
    documents: Mapping[str, Documents], starts: Mapping[str, int], wanted: NDArray[np.int64]
) -> Iterator[pl.DataFrame]:
    """The wanted rows in order, in frames of bounded size."""
    bounds = [*starts.values(), np.iinfo(np.int64).max]
    for (source_id, start), after in zip(starts.items(), bounds[1:], strict=True):
        left, right = np.searchsorted(wanted, (start, after))
        if left == right:
            continue
        rows = wanted[left:right] - start
        done = 0
        for batch in document_batches(documents[source_id]):
            here = rows[slice(*np.searchsorted(rows, (done, done + batch.height)))] - done
            done += batch.height
            if len(here):
                chosen = batch[here]
                for first, count in pieces(chosen["text"]):
                    yield chosen.slice(first, count)


def _sketch(
    chosen: pl.DataFrame, config: NearDuplicateConfig
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    from medpipe.curate.near_duplicates.pair_kernel import smallest_hashes

    shingles = hash_shingles(chosen["text"], chosen["lang"], config=config)
    kept = np.empty(len(shingles.hashes), np.uint32)
    ends = np.zeros(len(shingles.ends), np.int64)
    smallest_hashes(shingles.hashes, shingles.ends, config.shingles_compared, kept, ends)
    return kept[: ends[-1]], np.diff(ends)


def measure(
    sketches: Sketches, pairs: NDArray[np.int64], *, config: NearDuplicateConfig
) -> NDArray[np.float64]:
    """Jaccard similarity of each pair of documents; both must be among the sketches."""
    found = np.zeros(len(pairs), np.float64)
    if not len(pairs) or not sketches.ends[-1]:
        return found
    places = np.searchsorted(sketches.documents, pairs)
    order = _by_component(places)
    chunks = [order[start : start + _CHUNK_PAIRS] for start in range(0, len(order), _CHUNK_PAIRS)]
    with (
        sketches.path.open("rb") as file,
        ThreadPoolExecutor(WORKERS, thread_name_prefix="similarities") as pool,
    ):

        def compare(chunk: NDArray[np.int64]) -> NDArray[np.float64]:
            return _compare(file.fileno(), sketches.ends, places[chunk], config.shingles_compared)

        for chunk, values in zip(chunks, map_ahead(pool, compare, chunks), strict=True):
            found[chunk] = values
    return found


def _by_component(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """An order of pairs in which those that share documents stand together, so that each is read once."""
    from medpipe.curate.near_duplicates.pair_kernel import roots, unite_pairs

    members, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(-1, 2)
    parents = np.arange(len(members))
    unite_pairs(parents, places)
    roots(parents)
    return np.argsort(parents[places[:, 0]], kind="stable")


def _compare(file: int, ends: NDArray[np.int64], pairs: NDArray[np.int64], most: int) -> NDArray[np.float64]:
    """Similarity of pairs of places among the sketches; reads these sketches only.

    They are read and not mapped: pages of a mapped file count as the process's memory.
    """
    from medpipe.curate.near_duplicates.pair_kernel import similarities

    members, places = np.unique(pairs, return_inverse=True)
    starts, stops = ends[members], ends[members + 1]
    is_cut = (starts[1:] - stops[:-1] > _GAP) | (starts[1:] // _RUN != starts[:-1] // _RUN)
    bounds = np.flatnonzero(np.concatenate(([True], is_cut, [True])))
    # Where each sketch is in the runs that are read, one behind the other.
    sizes = stops[bounds[1:] - 1] - starts[bounds[:-1]]
    shifts = np.repeat(np.cumsum(sizes) - sizes - starts[bounds[:-1]], np.diff(bounds))
    runs = [
        os.pread(file, 4 * size, 4 * start)
        for start, size in zip(starts[bounds[:-1]].tolist(), sizes.tolist(), strict=True)
    ]
    found = np.empty(len(pairs), np.float64)
    hashes = np.frombuffer(b"".join(runs), np.uint32)
    similarities(hashes, starts + shifts, stops + shifts, places.reshape(-1, 2), most, found)
    return found
