"""Finds the shards that earlier data sets of a source have already: they need not be encoded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medpipe.lake.dataset import Dataset, whole_datasets
from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.object_store import DamagedObjectError
from medpipe.tokens.cuts import Chunk
from medpipe.tokens.workfolder import WorkFolder
from medpipe.tokens.writer import SUFFIXES, WrittenShard


@dataclass(frozen=True)
class EarlierChunk:
    """The shards of one chunk in an earlier data set."""

    dataset: Dataset
    shards: tuple[WrittenShard, ...]
    """In order; more than one where the chunk has too many tokens for one."""
    checksums: Mapping[str, str]
    """SHA-256 of each file, by name."""

    @property
    def folder(self) -> Path:
        """Folder of the data set."""
        return self.dataset.path

    def is_intact(self) -> bool:
        """Whether its files are what they were when they were published."""
        names = [shard.name + suffix for shard in self.shards for suffix in SUFFIXES]
        try:
            return all(sha256_file(self.dataset.file(name)) == self.checksums[name] for name in names)
        except (FileNotFoundError, DamagedObjectError):
            return False


def earlier_chunks(
    lake: Lake, *names: str, recipe: Recipe, facts: Mapping[str, Any]
) -> dict[str, EarlierChunk]:
    """The chunks of all whole data sets that were made in the same way, by digest.

    Args:
        lake: the lake.
        names: room and name of the data sets.
        recipe: the tokenizer, the settings and the code version must equal its own.
        facts: the facts of the data set but its shards must equal these.

    Returns:
        Nothing from data sets whose manifests do not state the digests of chunks.
    """
    found: dict[str, EarlierChunk] = {}
    for dataset in whole_datasets(lake, *names):
        manifest = dataset.manifest
        is_same = (
            manifest.recipe.inputs.get("tokenizer") == recipe.inputs["tokenizer"]
            and manifest.recipe.code_version == recipe.code_version
            and manifest.recipe.config == recipe.config
            and {key: value for key, value in manifest.facts.items() if key != "shards"} == dict(facts)
        )
        if is_same:
            found = _chunks_of(dataset) | found
    return found


def _chunks_of(dataset: Dataset) -> dict[str, EarlierChunk]:
    by_chunk: dict[str, list[WrittenShard]] = {}
    for entry in dataset.manifest.facts["shards"]:
        if chunk := entry.get("chunk"):
            shard = WrittenShard(**{key: value for key, value in entry.items() if key != "chunk"})
            by_chunk.setdefault(chunk, []).append(shard)
    checksums = {file.path: file.sha256 for file in dataset.manifest.files}
    return {chunk: EarlierChunk(dataset, tuple(shards), checksums) for chunk, shards in by_chunk.items()}


def link_equal_chunks(chunks: Sequence[Chunk], earlier: Mapping[str, EarlierChunk], work: WorkFolder) -> None:
    """Puts the shards of chunks that an earlier data set has into a work folder that has nothing of them.

    Files that are not what their manifest says are left alone, and the chunk is encoded again.
    """
    done = work.done()
    for chunk in chunks:
        found = earlier.get(chunk.digest)
        if found is None or done[chunk.first_row] or not found.is_intact():
            continue
        shards = [replace(shard, split=chunk.split, tier=chunk.tier) for shard in found.shards]
        if sum(shard.documents for shard in shards) == chunk.documents:
            work.link(chunk.first_row, [(shard, found.folder) for shard in shards])
