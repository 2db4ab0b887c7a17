"""Candidate pairs by locality-sensitive hashing, with the bands in hash partitions on disk.

One band after the other: each document's key goes to a partition by its hash, and each partition is read,
sorted into buckets and compared by itself, so that memory depends on a partition's size alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medpipe.curate.near_duplicates.ahead import WORKERS, map_ahead
from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.curate.near_duplicates.signatures import Signatures

PARTITION_ENTRIES = 262_144
"""Documents in a partition, about; sorting one takes some 60 bytes a document."""
_CHUNK_ROWS = 65_536
_PAIRS = 65_536
"""Pairs found before they are written."""
_FOLLOWING = 8
"""Values behind a band that order its buckets."""
_PARTITION_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_PARTITION_SHIFT = np.uint64(40)
_ENTRY = np.dtype([("key", np.uint64), ("document", np.int64)])

Pairs = NDArray[np.int64]
_Keys = NDArray[np.uint64]


def unite_equal(
    signatures: Signatures, parents: NDArray[Any], *, folder: Path, partition_entries: int = PARTITION_ENTRIES
) -> None:
    """Unites the documents with the same signature; zeros it in all but the first of them.

    So one stands for all of them in every band, and a text that was published a million times costs no more
    there than one that was published once.

    Args:
        signatures: of all documents, changed in place; a row of zeros matches nothing.
        parents: the trees of documents, changed in place.
        folder: for the partitions, which are removed again.
        partition_entries: documents in a partition, about.
    """
    from medpipe.curate.near_duplicates.pair_kernel import hash_signatures, unite_neighbours

    for path in _write_partitions(signatures, hash_signatures, folder / "equal", partition_entries):
        entries = np.fromfile(path, _ENTRY)
        path.unlink()
        entries = entries[np.lexsort((entries["document"], entries["key"]))]
        is_new = _changes(entries["key"])
        members = np.ascontiguousarray(entries["document"])
        unite_neighbours(parents, members, is_new)
        signatures[members[~is_new]] = 0


def candidate_pairs(
    signatures: Signatures,
    parents: NDArray[Any],
    *,
    folder: Path,
    config: NearDuplicateConfig,
    partition_entries: int = PARTITION_ENTRIES,
) -> Iterator[Pairs]:
    """Finds the pairs that share a band, and unites those whose similarity is beyond doubt.

    Args:
        signatures: of all documents, no two of them equal; a row of zeros matches nothing.
        parents: the trees of documents, changed in place.
        folder: for the partitions, which are removed again.
        config: threshold, bands and window.
        partition_entries: documents in a partition, about.

    Yields:
        Arrays of two columns: pairs around the threshold, whose shingles have to be compared.
    """
    from medpipe.curate.near_duplicates.pair_kernel import band_keys, compare_buckets

    bands = config.bands()
    low, high = config.borderline()
    found = np.empty((_PAIRS + config.bucket_window, 2), np.int64)

    def write_band(first: int) -> list[Path]:
        def keys_of(chunk: Signatures, keys: _Keys) -> None:
            band_keys(chunk, first, bands.rows, keys)

        return _write_partitions(signatures, keys_of, folder / f"band-{first:02d}", partition_entries)

    firsts = range(0, bands.number * bands.rows, bands.rows)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="bands") as pool:
        written_bands = map_ahead(pool, write_band, firsts, ahead=1)
        for first, paths in zip(firsts, written_bands, strict=True):
            for members, buckets in map_ahead(
                pool, partial(_take_buckets, signatures, first + bands.rows), paths, ahead=1
            ):
                at = 0
                while at < len(members):
                    at, count = compare_buckets(
                        signatures,
                        members,
                        buckets,
                        at,
                        first,
                        bands.rows,
                        config.bucket_window,
                        low,
                        high,
                        parents,
                        found,
                    )
                    if count:
                        yield found[:count].copy()


def _write_partitions(
    signatures: Signatures, keys_of: Callable[[Signatures, _Keys], None], stem: Path, partition_entries: int
) -> list[Path]:
    """Writes (key, document) of the documents that have a signature to partitions by the key's hash."""
    count = max(1, -(-len(signatures) // partition_entries))
    paths = [stem.with_name(f"{stem.name}-{number:05d}") for number in range(count)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for start in range(0, len(signatures), _CHUNK_ROWS):
            chunk = np.asarray(signatures[start : start + _CHUNK_ROWS])
            keys = np.empty(len(chunk), np.uint64)
            keys_of(chunk, keys)
            entries = np.empty(len(chunk), _ENTRY)
            entries["key"] = keys
            entries["document"] = np.arange(start, start + len(chunk))
            entries = entries[chunk.any(axis=1)]
            if count == 1:
                files[0].write(entries.data)
                continue
            number = (entries["key"] * _PARTITION_FACTOR >> _PARTITION_SHIFT) % np.uint64(count)
            order = np.argsort(number, kind="stable")
            ends = np.cumsum(np.bincount(number.astype(np.int64), minlength=count))
            for file, part in zip(files, np.split(entries[order], ends[:-1]), strict=True):
                file.write(part.data)
    return paths


def _take_buckets(
    signatures: Signatures, next_column: int, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The documents of a partition's buckets of two and more, and for each where its bucket starts.

    Within a bucket documents are ordered by the values behind the band, and more similar ones are more
    often neighbours, as in an LSH forest (Bawa, Condie and Ganesan, 2005). The partition is removed.
    """
    from medpipe.curate.near_duplicates.pair_kernel import band_keys, hash_signatures

    entries = np.fromfile(path, _ENTRY)
    path.unlink()
    entries = entries[np.argsort(entries["key"])]
    is_first = _changes(entries["key"])
    is_shared = ~(is_first & np.append(is_first[1:], True))
    members = entries["document"][is_shared]
    buckets = np.cumsum(is_first)[is_shared]
    del entries
    chosen = signatures[members]
    following, hashes = np.empty(len(members), np.uint64), np.empty(len(members), np.uint64)
    band_keys(chosen, next_column, _FOLLOWING, following)
    hash_signatures(chosen, hashes)
    members = members[np.lexsort((hashes, following, buckets))]
    return members, np.maximum.accumulate(np.where(_changes(buckets), np.arange(len(buckets)), 0))


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a value differs from the one before."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
