"""Reads every byte of a shard data set and lists what is wrong with it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.lake.digest import FrameDigest, digest_value
from medpipe.lake.draft import file_mistakes
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import MANIFEST, ManifestError, read_manifest
from medpipe.lake.parquet import ROW_GROUP_ROWS
from medpipe.tokens.shard import OpenShard, ShardError, open_dataset
from medpipe.tokens.snapshot import CorpusSnapshot, ShardRef

_CHUNK_TOKENS = 8_000_000
_SHAPE = "shards/<domain>/<source>/<digest>"


def verify(folder: Path) -> list[str]:
    """Everything that is wrong with a shard data set; an empty list if nothing is.

    Checked are: the manifest against its digest and the name of the folder (so that a data set in another's
    place and a changed fact are found); length and SHA-256 of each file (so a truncated or swapped file is
    found even where its length fits), type and vocabulary; `.idx` and `.docs.parquet` against the tokens and
    each other, tokens and documents against the digest of the shard's content; every id against the
    vocabulary; `<eos>` at the end of each document and nowhere else.

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
    mistakes = [*_name_mistakes(dataset), *file_mistakes(dataset.path, dataset.manifest)]
    if mistakes:
        return mistakes
    try:
        shards = open_dataset(dataset)
    except ShardError as error:
        return [str(error)]
    contents = [str(shard.get("content")) for shard in facts["shards"]]
    found = [
        mistake
        for shard, content in zip(shards, contents, strict=True)
        for mistake in _mistakes(shard, content)
    ]
    rows = sum(shard.documents for shard in shards)
    if rows != dataset.manifest.rows:
        found.append(f"the manifest says {dataset.manifest.rows:,} documents, its shards hold {rows:,}")
    return found


def require_shards(folder: Path) -> None:
    """Sees that a path is that of a shard data set, whole or not.

    Raises:
        ShardError: it is something else, or not there; says what it is.
    """
    if not folder.exists():
        raise ShardError(f"there is no folder {folder}; name one as {_SHAPE}")
    if not folder.is_dir():
        raise ShardError(f"{folder} is a file; name the folder of its data set, {folder.parent}")
    if not (folder / MANIFEST).is_file():
        raise ShardError(f"{folder} is no data set (no {MANIFEST}); name a folder as {_SHAPE}")
    with contextlib.suppress(ManifestError):  # a broken manifest is damage
        manifest = read_manifest(folder)
        if manifest.room != "shards":
            raise ShardError(
                f"{folder} is {manifest.room}/{manifest.name}, which has no shards; name a folder as {_SHAPE}"
            )


def verify_snapshot(lake: Lake, snapshot: CorpusSnapshot) -> dict[Path, list[str]]:
    """What is wrong with each data set of a snapshot; also whether it is the one that the snapshot names.

    Returns:
        By folder, in the snapshot's order; see `verify`.
    """
    found: dict[Path, list[str]] = {}
    for ref in snapshot.shards:
        folder = lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
        found[folder] = verify(folder) or list(_strangers(folder, ref, snapshot))
    return found


def _strangers(folder: Path, ref: ShardRef, snapshot: CorpusSnapshot) -> Iterator[str]:
    facts = read_manifest(folder).facts
    named = {"domain": ref.domain, "source": ref.source, "tokenizer": snapshot.tokenizer.digest}
    for name, expected in named.items():
        if facts.get(name) != expected:
            yield f"its {name} is {facts.get(name)}, the snapshot {snapshot.name} names {expected}"


def _name_mistakes(dataset: Dataset) -> Iterator[str]:
    manifest = dataset.manifest
    if dataset.path.resolve().name != manifest.digest:
        yield f"the folder is called {dataset.path.resolve().name}, its manifest is that of {manifest.digest}"
    if digest_value([digest_value(manifest.facts), manifest.recipe.code_version]) != manifest.digest:
        yield f"{MANIFEST}: its facts changed since it was written"


def _mistakes(shard: OpenShard, content: str) -> Iterator[str]:
    """What disagrees in one shard, whose content has the digest that is given."""
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
    hashed = hashlib.sha256()
    for start in range(0, len(shard.tokens), _CHUNK_TOKENS):
        chunk = shard.tokens[start : start + _CHUNK_TOKENS]
        hashed.update(np.ascontiguousarray(chunk).data)
        smallest, largest = min(smallest, int(chunk.min())), max(largest, int(chunk.max()))
        eos_seen += int(np.count_nonzero(chunk == shard.eos_id))
    hashed.update(_digest_of(table).encode())
    if hashed.hexdigest() != content:
        yield f"{name}: tokens and documents are not those that the manifest describes"
    if largest >= shard.vocabulary_size or smallest < 0:
        wrong = smallest if smallest < 0 else largest
        yield f"{name}: the id {wrong:,} is outside the vocabulary of {shard.vocabulary_size:,}"
    if eos_seen != shard.documents or not bool((shard.tokens[ends - 1] == shard.eos_id).all()):
        yield f"{name}: <eos> does not stand at the end of each document and nowhere else"


def _digest_of(table: pl.DataFrame) -> str:
    """As the writer computes it, some rows at a time."""
    digest = FrameDigest()
    for rows in table.iter_slices(ROW_GROUP_ROWS):
        digest.update(rows)
    return digest.hexdigest()
