"""Reads every byte of a shard data set and lists what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from medpipe.lake.dataset import Dataset
from medpipe.lake.digest import sha256_file
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.tokens.shard import OpenShard, ShardError, open_dataset

_CHUNK_TOKENS = 8_000_000


def verify(folder: Path) -> list[str]:
    """Everything that is wrong with a shard data set; an empty list if nothing is.

    Checked are: the manifest, length and SHA-256 of each file (so a truncated or swapped file is found even
    where its length fits), type and vocabulary; `.idx` and `.docs.parquet` against the tokens and each
    other; every id against the vocabulary; `<eos>` at the end of each document and nowhere else.

    Args:
        folder: `shards/<domain>/<source>/<digest>`.

    Returns:
        One line a mistake, each naming its file.
    """
    try:
        dataset = Dataset(folder, read_manifest(folder))
    except ManifestError as error:
        return [str(error)]
    facts = dataset.manifest.facts
    if dataset.manifest.room != "shards" or "shards" not in facts:
        return [f"{folder} is no shard data set but {dataset.manifest.room}/{dataset.manifest.name}"]
    mistakes = list(_file_mistakes(dataset))
    if mistakes:
        return mistakes
    try:
        shards = open_dataset(dataset)
    except ShardError as error:
        return [str(error)]
    found = [mistake for shard in shards for mistake in _mistakes(shard)]
    rows = sum(shard.documents for shard in shards)
    if rows != dataset.manifest.rows:
        found.append(f"the manifest says {dataset.manifest.rows:,} documents, its shards hold {rows:,}")
    return found


def _file_mistakes(dataset: Dataset) -> Iterator[str]:
    for file in dataset.manifest.files:
        path = dataset.path / file.path
        if not path.is_file():
            yield f"{file.path}: it is missing"
        elif (size := path.stat().st_size) != file.bytes:
            yield f"{file.path}: it has {size:,} bytes instead of {file.bytes:,}"
        elif sha256_file(path) != file.sha256:
            yield f"{file.path}: its bytes changed since it was written"


def _mistakes(shard: OpenShard) -> Iterator[str]:
    name = shard.path.name
    try:
        ends = shard.doc_ends
    except ShardError as error:
        yield str(error)
        return
    table = shard.document_index()
    if not np.array_equal(table["offset"].to_numpy() + table["length"].to_numpy(), ends):
        yield f"{name}: .docs.parquet and .idx disagree about where documents lie"
    if int(table["text_bytes"].sum()) != shard.text_bytes:
        yield f"{name}: .docs.parquet and the manifest disagree about text bytes"
    eos_seen, smallest, largest = 0, 0, 0
    for start in range(0, len(shard.tokens), _CHUNK_TOKENS):
        chunk = shard.tokens[start : start + _CHUNK_TOKENS]
        smallest, largest = min(smallest, int(chunk.min())), max(largest, int(chunk.max()))
        eos_seen += int(np.count_nonzero(chunk == shard.eos_id))
    if largest >= shard.vocabulary_size or smallest < 0:
        wrong = smallest if smallest < 0 else largest
        yield f"{name}: the id {wrong:,} is outside the vocabulary of {shard.vocabulary_size:,}"
    if eos_seen != shard.documents or not bool((shard.tokens[ends - 1] == shard.eos_id).all()):
        yield f"{name}: <eos> does not stand at the end of each document and nowhere else"
