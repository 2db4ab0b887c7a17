"""Clusters of near-duplicates over all sources.

1. Equal signatures are linked, and those that share a band are compared (`bands`): pairs that agree
   clearly are linked, pairs around the threshold are kept for the second step.
2. The shingles of the documents in such pairs are compared, and pairs at or above the threshold are linked
   (`verify`).
3. A cluster is a connected component of the links (union-find). So two of its members may be less similar
   than the threshold, if others stand between them.

Which documents form a cluster depends on their texts alone: neither on their order, nor on batches,
threads or the number of partitions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.near_duplicates.bands import PARTITION_ENTRIES, candidate_pairs, unite_equal
from medpipe.curate.near_duplicates.config import PERMUTATIONS, NearDuplicateConfig
from medpipe.curate.near_duplicates.documents import Documents
from medpipe.curate.near_duplicates.signatures import Signatures
from medpipe.curate.near_duplicates.store import count_signatures, read_signatures
from medpipe.curate.near_duplicates.verify import measure, write_sketches
from medpipe.lake.dataset import Dataset
from medpipe.lake.files import naming_a_full_disk

_PAIR_ROWS = 262_144
_ALL = "signatures.u8"
_PAIRS = "pairs.i64"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class SignedDocuments:
    """The documents of a source with their signatures."""

    signatures: Dataset | Signatures
    """A row a document, from `build_signatures` or `compute_signatures`."""
    documents: Documents
    """In the same order; read again for pairs around the threshold."""
    included: NDArray[np.bool_] | None = None
    """Which documents take part; all if unset."""


def find_clusters(
    sources: Mapping[str, SignedDocuments],
    *,
    folder: Path,
    config: NearDuplicateConfig = NearDuplicateConfig(),  # noqa: B008 - frozen
    partition_entries: int = PARTITION_ENTRIES,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Finds the clusters of two and more documents.

    In memory there are, of each document, its signature (60 bytes, mapped from the disk) and its place in
    the forest of clusters (4 bytes, 8 from two billion documents on); bands, pairs and shingles are on disk.

    Args:
        sources: by id, in the catalog's order.
        folder: for temporary files, which are removed again; should lie on a disk with 80 bytes free for
            each document, and more where many pairs are near the threshold.
        config: threshold and n-grams; the n-grams must be those of the signatures.
        partition_entries: documents in a partition of a band, about: bounds memory.
        progress: takes a line of news at a time.

    Returns:
        A row for each document in a cluster, in the order of the sources and their rows: `source` (Enum),
        `row` (Int64, within its source), `position` (Int64, among all), `cluster` (Int64: the position of
        its first member).

    Raises:
        ValueError: a source has a wrong number of flags.
        RuntimeError: a source has fewer documents than signatures.
        DiskFullError: the disk filled.
    """
    say = progress or (lambda _: None)
    starts, total = _starts(sources)
    parents = np.arange(total, dtype=np.int32 if total < 2**31 else np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        naming_a_full_disk(folder),
        tempfile.TemporaryDirectory(prefix=".near-duplicates-", dir=folder) as name,
    ):
        scratch = Path(name)
        undecided = _link_clear_pairs(
            sources, total, parents, scratch=scratch, config=config, partition_entries=partition_entries
        )
        say(f"near-duplicates: {total:,} documents compared, {undecided:,} pairs around the threshold")
        if undecided:
            _link_similar_pairs(sources, starts, parents, scratch=scratch, config=config)
    return _members(parents, starts)


def _starts(sources: Mapping[str, SignedDocuments]) -> tuple[dict[str, int], int]:
    starts, total = {}, 0
    for source_id, source in sources.items():
        rows = count_signatures(source.signatures)
        if source.included is not None and len(source.included) != rows:
            raise ValueError(
                f"{source_id}: {len(source.included)} flags for {rows} documents; pass one for each"
            )
        starts[source_id] = total
        total += rows
    return starts, total


def _link_clear_pairs(
    sources: Mapping[str, SignedDocuments],
    total: int,
    parents: NDArray[Any],
    *,
    scratch: Path,
    config: NearDuplicateConfig,
    partition_entries: int,
) -> int:
    """Step 1; returns how many pairs it wrote for step 2."""
    if total < 2:
        return 0
    with (scratch / _ALL).open("wb") as file:
        for source in sources.values():
            done = 0
            for chunk in read_signatures(source.signatures):
                if source.included is not None:
                    chunk = chunk * source.included[done : done + len(chunk), None]
                file.write(np.ascontiguousarray(chunk).data)
                done += len(chunk)
    signatures = np.memmap(scratch / _ALL, np.uint8, "r+", shape=(total, PERMUTATIONS))
    unite_equal(signatures, parents, folder=scratch, partition_entries=partition_entries)
    undecided = 0
    with (scratch / _PAIRS).open("wb") as file:
        for pairs in candidate_pairs(
            signatures, parents, folder=scratch, config=config, partition_entries=partition_entries
        ):
            file.write(pairs.data)
            undecided += len(pairs)
    return undecided


def _link_similar_pairs(
    sources: Mapping[str, SignedDocuments],
    starts: Mapping[str, int],
    parents: NDArray[Any],
    *,
    scratch: Path,
    config: NearDuplicateConfig,
) -> None:
    """Step 2; pairs whose documents are in one cluster by then are passed over."""
    from medpipe.curate.near_duplicates.pair_kernel import unite_pairs

    pairs = np.memmap(scratch / _PAIRS, np.int64, "r").reshape(-1, 2)
    is_wanted = np.zeros(len(parents), bool)
    for start in range(0, len(pairs), _PAIR_ROWS):
        is_wanted[_apart(parents, pairs[start : start + _PAIR_ROWS]).ravel()] = True
    wanted = np.flatnonzero(is_wanted)
    del is_wanted
    documents = {source_id: source.documents for source_id, source in sources.items()}
    sketches = write_sketches(documents, starts, wanted, folder=scratch, config=config)
    for start in range(0, len(pairs), _PAIR_ROWS):
        apart = _apart(parents, pairs[start : start + _PAIR_ROWS])
        unite_pairs(parents, apart[measure(sketches, apart, config=config) >= config.similarity])


def _apart(parents: NDArray[Any], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pairs whose documents are in different clusters."""
    from medpipe.curate.near_duplicates.pair_kernel import still_apart

    keep = np.empty(len(pairs), bool)
    still_apart(parents, pairs, keep)
    return pairs[keep]


def _members(parents: NDArray[Any], starts: Mapping[str, int]) -> pl.DataFrame:
    from medpipe.curate.near_duplicates.pair_kernel import roots

    roots(parents)
    is_member = parents != np.arange(len(parents), dtype=parents.dtype)
    is_member[parents[is_member]] = True
    positions = np.flatnonzero(is_member)
    names = pl.Series(list(starts), dtype=pl.Enum(list(starts)))
    firsts = np.fromiter(starts.values(), np.int64, len(starts))
    # The last of the sources that start there: those before it are empty.
    number = np.searchsorted(firsts, positions, side="right") - 1
    return pl.DataFrame(
        {
            "source": names.gather(number),
            "row": positions - firsts[number],
            "position": positions,
            "cluster": parents[positions].astype(np.int64),
        }
    )
