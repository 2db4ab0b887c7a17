"""Reads shards: opened read-only as memory maps, refused where they are not what the snapshot names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.tokens.index import TokenIndex, read_index
from medpipe.tokens.snapshot import CorpusSnapshot
from medpipe.tokens.vocabulary import ShardError, dtype_of, stored_dtype
from medpipe.tokens.writer import DOCUMENT_INDEX_SCHEMA, SUFFIXES

__all__ = ["DOCUMENT_INDEX_SCHEMA", "OpenShard", "ShardError", "open_dataset", "open_shards", "verify_shard"]


@dataclass(frozen=True)
class OpenShard:
    """One `.bin` file as a read-only array, with what is known about it."""

    domain: str
    source: str
    digest: str
    """Digest of the data set that the shard belongs to."""
    name: str
    split: str
    """`train` or `validation`."""
    tier: str
    """`raw` or `refined`."""
    path: Path
    tokens: npt.NDArray[np.uint16 | np.int32]
    """Token ids, `<eos>` after each document; np.memmap of shape (tokens,), mode `r`."""
    eos_id: int
    vocabulary_size: int
    documents: int
    text_bytes: int
    """UTF-8 bytes of the documents' texts: what bits per byte divide by."""

    @cached_property
    def index(self) -> TokenIndex:
        """The `.idx` file, read at first use.

        Raises:
            ShardError: it is broken or does not fit the tokens.
        """
        path = self.path.with_suffix(".idx")
        index = read_index(path)
        fits = len(index.lengths) == self.documents and int(index.lengths.sum()) == len(self.tokens)
        if not fits or stored_dtype(index.dtype) != self.tokens.dtype:
            raise ShardError(f"{path} does not describe {self.path.name}; {_fix(self.domain)}")
        return index

    @cached_property
    def doc_ends(self) -> npt.NDArray[np.int64]:
        """Offset after each document's `<eos>`, in tokens; shape (documents,)."""
        return self.index.ends

    def document_index(self) -> pl.DataFrame:
        """The `.docs.parquet` file: id, lang, offset, length, text_bytes of each document."""
        return pl.read_parquet(self.path.with_suffix(".docs.parquet"))


def open_shards(lake: Lake, snapshot: CorpusSnapshot, *, split: str) -> list[OpenShard]:
    """Opens a snapshot's shards of one split, in the snapshot's order and by name.

    Args:
        lake: the lake.
        snapshot: what the run pins.
        split: `train` or `validation`.

    Raises:
        ShardError: a file is missing, has another size than its manifest says, or was made with another
            tokenizer or dtype.
    """
    opened: list[OpenShard] = []
    for ref in snapshot.shards:
        folder = lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
        dataset = _read(folder, ref.domain)
        tokenizer = dataset.manifest.facts["tokenizer"]
        if tokenizer != snapshot.tokenizer.digest:
            raise ShardError(
                f"{folder} was made with tokenizer {tokenizer}, the snapshot {snapshot.name} names "
                f"{snapshot.tokenizer.digest}; {_fix(ref.domain)} and take a new snapshot"
            )
        if (found := identity_of(dataset)) != (expected := (ref.domain, ref.source, ref.digest)):
            raise ShardError(
                f"{folder} holds the data set {'/'.join(found)}, the snapshot {snapshot.name} names "
                f"{'/'.join(expected)}; {_fix(ref.domain)}"
            )
        opened += [shard for shard in open_dataset(dataset) if shard.split == split]
    return opened


def identity_of(dataset: Dataset) -> tuple[str, str, str]:
    """Domain, source and digest, as the manifest of a shard data set states them."""
    facts = dataset.manifest.facts
    return str(facts["domain"]), str(facts["source"]), dataset.digest


def open_dataset(dataset: Dataset) -> list[OpenShard]:
    """Opens all shards of one data set; see `open_shards` for the errors."""
    facts = dataset.manifest.facts
    _check_files(dataset)
    dtype = stored_dtype(facts["dtype"])
    if facts["dtype"] != dtype_of(int(facts["vocabulary_size"])):
        raise ShardError(
            f"{dataset.path} is {facts['dtype']}, which does not fit its vocabulary of "
            f"{facts['vocabulary_size']:,}; {_fix(facts['domain'])}"
        )
    return [_open(dataset, shard, dtype) for shard in facts["shards"]]


def _open(dataset: Dataset, shard: dict[str, Any], dtype: np.dtype[np.uint16 | np.int32]) -> OpenShard:
    facts = dataset.manifest.facts
    path = dataset.path / f"{shard['name']}.bin"
    if path.stat().st_size != shard["tokens"] * dtype.itemsize:
        raise ShardError(
            f"{path} has {path.stat().st_size:,} bytes, which are not {shard['tokens']:,} tokens of "
            f"{facts['dtype']}; {_fix(facts['domain'])}"
        )
    return OpenShard(
        domain=facts["domain"],
        source=facts["source"],
        digest=dataset.digest,
        name=shard["name"],
        split=shard["split"],
        tier=shard["tier"],
        path=path,
        tokens=np.memmap(path, dtype=dtype, mode="r"),
        eos_id=facts["eos_id"],
        vocabulary_size=facts["vocabulary_size"],
        documents=shard["documents"],
        text_bytes=shard["text_bytes"],
    )


def verify_shard(folder: Path) -> None:
    """Reads every byte of a shard data set; see `medpipe.tokens.verify.verify`.

    Raises:
        ShardError: something disagrees; the message lists all of it.
        ManifestError: the folder is no data set.
    """
    from medpipe.tokens.verify import verify

    domain = read_manifest(folder).facts.get("domain", "<domain>")
    if mistakes := verify(folder):
        listed = "\n  ".join(mistakes)
        raise ShardError(f"{folder} is damaged:\n  {listed}\n{_fix(domain)}")


def _check_files(dataset: Dataset) -> None:
    """Every file that the shards need is in the manifest, there, and as long as it says."""
    sizes = {file.path: file.bytes for file in dataset.manifest.files}
    domain = dataset.manifest.facts["domain"]
    for shard in dataset.manifest.facts["shards"]:
        for suffix in SUFFIXES:
            path = dataset.path / (shard["name"] + suffix)
            expected = sizes.get(path.name)
            if expected is None or not path.is_file():
                raise ShardError(f"{path} is missing; {_fix(domain)}")
            if path.stat().st_size != expected:
                raise ShardError(
                    f"{path} has {path.stat().st_size:,} bytes instead of {expected:,}; {_fix(domain)}"
                )


def _read(folder: Path, domain: str) -> Dataset:
    try:
        return Dataset(folder, read_manifest(folder))
    except ManifestError as error:
        raise ShardError(f"{error}; {_fix(domain)}") from error


def _fix(domain: str) -> str:
    return f"materialise shards/{domain} again with force (medpipe run 'key:\"shards/{domain}\"' --force)"
