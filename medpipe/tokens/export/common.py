"""What all exporters share: shards by split, and a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medpipe.lake.files import fsync_path, naming_a_full_disk, temporary_sibling
from medpipe.tokens.shard import OpenShard

CHUNK_TOKENS = 8_000_000
"""So many tokens are in memory while files are joined."""

Shards = Mapping[str, Sequence[OpenShard]]
"""Opened shards by split, in the order in which they are written."""


class ExportError(ValueError):
    """Shards cannot be written in a layout; the message names the fix."""


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Gives a folder to fill, which becomes `target` if the block is left without an error.

    Raises:
        ExportError: something lies at `target` already.
        DiskFullError: the disk filled; nothing is left at `target`.
    """
    if target.exists():
        raise ExportError(f"{target} is there already; name a new folder or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = temporary_sibling(target)
    draft.mkdir()
    try:
        with naming_a_full_disk(target, fix="Free some space or name a folder on a larger disk"):
            yield draft
            for path in draft.rglob("*"):
                fsync_path(path)
            draft.rename(target)
        fsync_path(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def join_tokens(shards: Sequence[OpenShard], path: Path) -> int:
    """Writes the token bytes of shards one after the other; returns how many tokens."""
    written = 0
    with path.open("wb") as file:
        for shard in shards:
            for start in range(0, len(shard.tokens), CHUNK_TOKENS):
                file.write(shard.tokens[start : start + CHUNK_TOKENS].tobytes())
            written += len(shard.tokens)
    return written


def one_dtype(shards: Shards) -> str:
    """The type of all shards: `uint16` or `int32`.

    Raises:
        ExportError: there are no shards, or they have different types.
    """
    found = {str(shard.tokens.dtype) for each in shards.values() for shard in each}
    if not found:
        raise ExportError("there are no shards to export; materialise shards/<domain> and a snapshot first")
    if len(found) > 1:
        raise ExportError("shards of different types cannot be joined; export one snapshot at a time")
    return found.pop()
