"""Reads the files of the current corpus again, from the sources' own to the shards, and finds damage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import current
from medpipe.lake.draft import file_mistakes
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, NothingPublishedError
from medpipe.tokens.snapshot import CURRENT, read_snapshot
from medpipe.tokens.verify import verify_snapshot

_BY_SOURCE = ("raw", "normalized")
_CORPUS, _TOKENIZER = "corpus", "tokenizer"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One data set that was read again."""

    asset: str
    """The asset that makes it."""
    digest: str
    bytes: int
    mistakes: tuple[str, ...]
    """A line each; none if every byte is as it was written."""


def examine_corpus(
    lake: Lake, sources: Collection[str], *, say: Callable[[str], None] = lambda _: None
) -> list[Examined]:
    """Compares every file of the current data sets and of the current snapshot with its checksum.

    Shards are looked at more closely; see `medpipe.tokens.verify.verify`.

    Args:
        lake: the lake.
        sources: ids of the sources to look at; one that has no data set yet is passed over.
        say: takes a line of news at a time.

    Raises:
        SnapshotError: there is no snapshot yet.
        StoreError: the store cannot be reached.
    """
    snapshot = read_snapshot(lake, CURRENT)
    named = [(room, source) for room in _BY_SOURCE for source in sources]
    named += [(_CORPUS, purpose.value) for purpose in Purpose]
    examined = []
    for room, name in named:
        say(f"reading {room}/{name}")
        with contextlib.suppress(NothingPublishedError):
            examined.append(_examine(lake, room, name))
    examined.append(_examine(lake, _TOKENIZER, snapshot.tokenizer.name))
    say(f"reading {len(snapshot.shards)} data sets of shards")
    found = verify_snapshot(lake, snapshot)
    for ref, (folder, mistakes) in zip(snapshot.shards, found.items(), strict=True):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        examined.append(
            Examined(asset=f"shards/{ref.domain}", digest=ref.digest, bytes=size, mistakes=tuple(mistakes))
        )
    return examined


def _examine(lake: Lake, room: str, name: str) -> Examined:
    asset = room if room == _TOKENIZER else f"{room}/{name}"
    try:
        dataset = current(lake, room, name).fetched()
    except NothingPublishedError:
        raise
    except ManifestError as error:
        return Examined(asset=asset, digest="", bytes=0, mistakes=(str(error),))
    mistakes = tuple(file_mistakes(dataset.path, dataset.manifest))
    return Examined(asset=asset, digest=dataset.digest, bytes=dataset.manifest.bytes, mistakes=mistakes)
