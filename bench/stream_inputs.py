"""Shards for the bench of the stream: some with random ids, and a large set of sparse files without room."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import DatasetFile, Manifest, Recipe, write_manifest
from medpipe.tokens.snapshot import CorpusSnapshot

VOCABULARY = 32_000
SHARD_TOKENS = 32 * 1024 * 1024
"""64 MiB of uint16, as the lake cuts them."""
DOCUMENT_TOKENS = 400
COMPONENTS = 6


@dataclass(frozen=True)
class Shard:
    """A shard as a stream knows it."""

    tokens: int
    source: str = "bench"
    key: str = "general/bench/0/00000"


@dataclass(frozen=True)
class Component:
    """A mixture entry."""

    samples: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Stage:
    """What a stream is made of."""

    digest: str
    sequence_length: int
    sequences_per_step: int
    components: tuple[Component, ...]

    @property
    def samples(self) -> int:
        """Windows of the stage."""
        return sum(component.samples for component in self.components)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, component by component."""
        return tuple(shard for component in self.components for shard in component.shards)


def stage_of(sizes: Sequence[int], *, length: int, sequences: int) -> Stage:
    """One epoch of shards of these sizes, in equal numbers dealt out to the components."""
    parts = [tuple(Shard(size) for size in sizes[n::COMPONENTS]) for n in range(COMPONENTS)]
    components = [Component(sum(-(-s.tokens // length) for s in part), part) for part in parts if part]
    return Stage("bench", length, sequences, tuple(components))


def write_random(folder: Path, *, shards: int, tokens: int) -> list[Path]:
    """Files of random ids, one in `DOCUMENT_TOKENS` an `<eos>`; what is there is kept."""
    chance = np.random.default_rng(0)
    paths = [folder / f"{number:05d}.bin" for number in range(shards)]
    for path in paths:
        if not path.exists() or path.stat().st_size != 2 * tokens:
            ids = chance.integers(1, VOCABULARY, tokens).astype("<u2")
            ids[chance.integers(0, tokens, tokens // DOCUMENT_TOKENS)] = 0
            ids.tofile(path)
    return paths


def read_all(paths: Sequence[Path]) -> list[npt.NDArray[np.uint16]]:
    """Maps files and reads each page once, so that they are warm."""
    opened = [np.memmap(path, dtype=np.uint16, mode="r") for path in paths]
    for tokens in opened:
        int(tokens.sum(dtype=np.int64))
    return opened


def write_sparse(root: Path, *, gigabytes: float, datasets: int = 12) -> tuple[Lake, CorpusSnapshot]:
    """A lake of full shards with no content: sizes, manifests and snapshot as real ones have them."""
    lake = Lake(root)
    each = -(-int(gigabytes * 1e9) // (2 * SHARD_TOKENS * datasets))
    refs = []
    for number in range(datasets):
        source, digest = f"source_{number:02d}", f"{number:032x}"
        folder = lake.dataset("shards", "general", source, digest=digest)
        folder.mkdir(parents=True, exist_ok=True)
        write_manifest(folder, _manifest(folder, source, digest, list(_sparse_files(folder, each)), each))
        refs.append({"domain": "general", "source": source, "digest": digest})
    content = {
        "tokenizer": {"name": "bench", "digest": "0" * 32},
        "shards": refs,
        "documents": "0" * 32,
        "revisions": {},
    }
    return lake, CorpusSnapshot.model_validate({"name": digest_value(content), **content})


def _sparse_files(folder: Path, shards: int) -> Iterator[DatasetFile]:
    documents = SHARD_TOKENS // DOCUMENT_TOKENS
    sizes = {
        ".bin": 2 * SHARD_TOKENS,
        ".idx": 34 + 20 * documents,
        ".docs.parquet": 40 * documents,
        ".tokens.parquet": 2 * SHARD_TOKENS,
    }
    for number in range(shards):
        for suffix, size in sizes.items():
            path = folder / f"{number:05d}{suffix}"
            with path.open("wb") as file:
                os.truncate(file.fileno(), size)
            yield DatasetFile(path=path.name, bytes=size, sha256="0" * 64)


def _manifest(folder: Path, source: str, digest: str, files: list[DatasetFile], shards: int) -> Manifest:
    described = [
        {
            "name": f"{number:05d}",
            "split": "train",
            "tier": "raw",
            "documents": SHARD_TOKENS // DOCUMENT_TOKENS,
            "tokens": SHARD_TOKENS,
            "text_bytes": 4 * SHARD_TOKENS,
        }
        for number in range(shards)
    ]
    return Manifest(
        room="shards",
        name=f"general/{source}",
        digest=digest,
        recipe=Recipe(inputs={"tokenizer": "0" * 32}, code_version="1"),
        rows=0,
        bytes=sum(file.bytes for file in files),
        files=tuple(files),
        facts={
            "domain": "general",
            "source": source,
            "tokenizer": "0" * 32,
            "dtype": "uint16",
            "eos_id": 0,
            "vocabulary_size": VOCABULARY,
            "shards": described,
        },
    )
