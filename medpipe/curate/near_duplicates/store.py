"""Signatures on disk, a data set for each source: a refresh computes only those of sources that changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import polars as pl

from medpipe.curate.near_duplicates import CODE_VERSION
from medpipe.curate.near_duplicates.ahead import WORKERS, map_ahead
from medpipe.curate.near_duplicates.config import PERMUTATIONS, NearDuplicateConfig
from medpipe.curate.near_duplicates.documents import Documents, document_batches
from medpipe.curate.near_duplicates.signatures import Signatures, compute_signatures, pieces
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe

ROOM = "signatures"
FILE = "signatures.u8"
_PROGRESS_SECONDS = 1.0
_CHUNK_ROWS = 65_536
_PART_BYTES = 4_000_000
"""Text that a thread takes at a time, where rows are long."""

Progress = Callable[[str], None]


def build_signatures(
    source_id: str,
    documents: Documents,
    *,
    inputs: Mapping[str, str],
    lake: Lake,
    config: NearDuplicateConfig = NearDuplicateConfig(),  # noqa: B008 - frozen
    force: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Computes the signatures of a source's documents, or finds them computed.

    Args:
        source_id: names the data set, `signatures/<source id>`.
        documents: the texts; read in bounded batches.
        inputs: digests of all that the documents are made of, by label: the normalized data set, and the
            template where conversations were rendered.
        lake: where the data set goes.
        config: only n of the n-grams matters here; another similarity uses the same signatures.
        force: compute even if the same recipe was computed before.
        progress: takes a line about once a second.

    Returns:
        The data set; its one file holds 60 bytes a document in the documents' order (see `read_signatures`).

    Raises:
        DiskFullError: the disk filled; what was there before stays.
    """
    recipe = Recipe(inputs=dict(inputs), code_version=_code_version(), config=config.signature_settings())
    if not force and (found := find_reusable(lake, ROOM, source_id, recipe=recipe)):
        return Built(found, reused=True)
    started = said = time.monotonic()
    with publish(lake, ROOM, source_id, recipe=recipe) as draft:
        with (draft.path / FILE).open("wb") as file:
            for signatures in _in_order(documents, config):
                file.write(signatures.data)
                draft.rows += len(signatures)
                now = time.monotonic()
                if progress is not None and now - said >= _PROGRESS_SECONDS:
                    rate = draft.rows / (now - started)
                    progress(f"signatures/{source_id}: {draft.rows:,} documents, {rate:,.0f} a second")
                    said = now
        draft.rows_by_file[FILE] = draft.rows
        draft.facts = {"bytes_per_document": PERMUTATIONS}
    return Built(draft.dataset, reused=False)


def read_signatures(signatures: Dataset | Signatures) -> Iterator[Signatures]:
    """The signatures of a data set, or of an array, in chunks of bounded size; see `count_signatures`.

    Read and not mapped, so that what was passed on does not stay in memory.
    """
    if not isinstance(signatures, Dataset):
        for start in range(0, len(signatures), _CHUNK_ROWS):
            yield signatures[start : start + _CHUNK_ROWS]
        return
    [path] = signatures.files(FILE)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_ROWS * PERMUTATIONS):
            yield np.frombuffer(chunk, np.uint8).reshape(-1, PERMUTATIONS)


def count_signatures(signatures: Dataset | Signatures) -> int:
    """Number of documents."""
    return signatures.manifest.rows if isinstance(signatures, Dataset) else len(signatures)


def _code_version() -> str:
    import rensa

    return f"{CODE_VERSION}, rensa {rensa.RMinHash.ALGORITHM_VERSION}"


def _in_order(documents: Documents, config: NearDuplicateConfig) -> Iterator[Signatures]:
    """Signatures batch by batch; most of the work lets other threads run."""
    batches = document_batches(documents)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="signatures") as pool:
        parts = (batch.slice(*part) for batch in batches for part in pieces(batch["text"], limit=_PART_BYTES))
        yield from map_ahead(pool, partial(_compute, config=config), parts)


def _compute(batch: pl.DataFrame, config: NearDuplicateConfig) -> Signatures:
    return compute_signatures(batch["text"], batch["lang"], config=config)
