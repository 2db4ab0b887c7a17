"""Where shards wait until all of a source are written: what a killed run had finished is not encoded again.

A data set is published whole or not at all, so finished shards cannot wait in its draft, which dies with its
process. They wait in `.work-<recipe>/` beside the data sets, a name that no data set can have, each noted in
a journal once its files are on the disk. The next run of the same recipe goes on behind them; publishing
takes them over by hard links and removes the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import orjson

from medpipe.lake.digest import sha256_file
from medpipe.lake.files import fsync_path, link_or_copy, write_json_atomically
from medpipe.lake.manifest import DatasetFile
from medpipe.tokens.vocabulary import ShardError
from medpipe.tokens.writer import SUFFIXES, WrittenShard

JOURNAL = "journal.json"
_LOCK = "lock"
_PREFIX = ".work-"


@dataclass(frozen=True)
class FinishedShard:
    """A shard in the journal."""

    first_row: int
    """Of its chunk: the place of the chunk's first document among those of the source."""
    piece: int
    """Which shard of the chunk it is: more than one has a chunk of too many tokens."""
    linked: bool
    """Whether an earlier data set had it."""
    shard: WrittenShard
    bytes: dict[str, int]
    """Length of each file, by suffix."""
    sha256: dict[str, str]
    """Of each file, by suffix."""

    @property
    def name(self) -> str:
        """Name of its files while they wait, without suffix."""
        return waiting_name(self.first_row, self.piece)


@dataclass(frozen=True)
class PlacedShard:
    """A shard in a draft."""

    shard: WrittenShard
    first_row: int
    """Of its chunk."""
    linked: bool
    files: tuple[DatasetFile, ...]
    """Its files, as they were when they were noted."""


def waiting_name(first_row: int, piece: int) -> str:
    """Name of a shard's files while they wait, without suffix; names sort as shards are numbered."""
    return f"{first_row:012d}-{piece:06d}"


class WorkFolder:
    """The finished shards of one source and recipe."""

    def __init__(self, path: Path) -> None:
        """Opens a folder; unless all that it holds is intact, nothing of it is kept.

        Args:
            path: the folder, which must be there.
        """
        self.path = path
        noted = _read_journal(path)
        self.finished = noted if all(_is_intact(path, each) for each in noted) else []
        _keep_only(path, self.finished)

    def done(self) -> Counter[int]:
        """How many documents of each chunk, by its first row, are in finished shards: always the first."""
        counts: Counter[int] = Counter()
        for each in self.finished:
            counts[each.first_row] += each.shard.documents
        return counts

    def pieces(self) -> Counter[int]:
        """How many finished shards each chunk has, by its first row."""
        return Counter(each.first_row for each in self.finished)

    def add(self, first_row: int, shard: WrittenShard) -> None:
        """Notes a shard whose files are written under the chunk's next waiting name."""
        self._note(first_row, shard, linked=False)
        self._write_journal()

    def link(self, first_row: int, shards: Sequence[tuple[WrittenShard, Path]]) -> None:
        """Takes over the shards of a whole chunk from an earlier data set.

        Args:
            first_row: of the chunk.
            shards: in order, each with the folder that it lies in.
        """
        for piece, (shard, folder) in enumerate(shards):
            for suffix in SUFFIXES:
                target = self.path / (waiting_name(first_row, piece) + suffix)
                target.unlink(missing_ok=True)
                link_or_copy(folder / (shard.name + suffix), target)
            self._note(first_row, shard, linked=True)
        self._write_journal()

    def _note(self, first_row: int, shard: WrittenShard, *, linked: bool) -> None:
        piece = self.pieces()[first_row]
        sizes, checksums = {}, {}
        for suffix in SUFFIXES:
            path = self.path / (waiting_name(first_row, piece) + suffix)
            fsync_path(path)
            sizes[suffix], checksums[suffix] = path.stat().st_size, sha256_file(path)
        self.finished.append(FinishedShard(first_row, piece, linked, shard, sizes, checksums))

    def _write_journal(self) -> None:
        write_json_atomically(self.path / JOURNAL, [asdict(each) for each in self.finished])

    def clear(self) -> None:
        """Forgets and removes all shards."""
        self.finished = []
        (self.path / JOURNAL).unlink(missing_ok=True)
        _keep_only(self.path, ())

    def hand_over(self, folder: Path) -> list[PlacedShard]:
        """Puts the shards into a draft, numbered in the order of their chunks' first documents."""
        shards = []
        for number, each in enumerate(sorted(self.finished, key=lambda each: each.name)):
            name = f"{number:05d}"
            files = []
            for suffix in SUFFIXES:
                link_or_copy(self.path / (each.name + suffix), folder / (name + suffix))
                rows = each.shard.documents if suffix.endswith(".parquet") else None
                described = {"bytes": each.bytes[suffix], "sha256": each.sha256[suffix], "rows": rows}
                files.append(DatasetFile(path=name + suffix, **described))
            shard = replace(each.shard, name=name)
            shards.append(PlacedShard(shard, each.first_row, each.linked, tuple(files)))
        return shards


def _read_journal(path: Path) -> list[FinishedShard]:
    """What is noted as finished."""
    try:
        entries = orjson.loads((path / JOURNAL).read_bytes())
        return [FinishedShard(**(entry | {"shard": WrittenShard(**entry["shard"])})) for entry in entries]
    except (FileNotFoundError, orjson.JSONDecodeError, TypeError, KeyError):
        return []


def _is_intact(path: Path, each: FinishedShard) -> bool:
    """Whether the files of a shard are what they were when they were noted; reads all of them."""
    files = {suffix: path / (each.name + suffix) for suffix in SUFFIXES}
    return all(
        file.is_file() and file.stat().st_size == each.bytes[suffix] for suffix, file in files.items()
    ) and all(sha256_file(file) == each.sha256[suffix] for suffix, file in files.items())


def _keep_only(path: Path, finished: Sequence[FinishedShard]) -> None:
    """Removes every file that belongs to no finished shard."""
    kept = {each.name + suffix for each in finished for suffix in SUFFIXES} | {JOURNAL, _LOCK}
    for file in path.iterdir():
        if file.name not in kept:
            file.unlink()


@contextlib.contextmanager
def work_folder(folder: Path, recipe_digest: str) -> Iterator[WorkFolder]:
    """Opens the work folder of a recipe and removes those that other recipes left behind.

    It is removed on leaving the block without an error, with a ShardError (the same run would fail again)
    or with nothing finished; it stays, without half a shard, after anything else.

    Args:
        folder: that of the source's data sets.
        recipe_digest: of the data set that is being built.

    Raises:
        ShardError: another process is writing the same shards.
    """
    path = folder / f"{_PREFIX}{recipe_digest}"
    with _locked(path, create=True) as is_ours:
        if not is_ours:
            raise ShardError(f"another process is writing the shards in {path}; wait until it has finished")
        for other in folder.glob(f"{_PREFIX}*"):
            if other != path:
                with _locked(other) as is_abandoned:
                    if is_abandoned:
                        shutil.rmtree(other, ignore_errors=True)
        work = WorkFolder(path)
        is_worth_keeping = False
        try:
            yield work
        except ShardError:
            raise
        except BaseException:
            is_worth_keeping = bool(work.finished)
            if is_worth_keeping:
                _keep_only(path, _read_journal(path))
            raise
        finally:
            if not is_worth_keeping:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, *, create: bool = False) -> Iterator[bool]:
    """Whether the folder is there and nobody else holds it; a killed process lets go of it.

    Args:
        path: the folder.
        create: make it where it is not there.
    """
    file: IO[bytes]
    while True:
        if create:
            path.mkdir(parents=True, exist_ok=True)
        try:
            file = (path / _LOCK).open("ab")
        except FileNotFoundError:  # removed by whoever held it, between both lines
            if create:
                continue
            yield False
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            # Whoever held it before may have removed the folder in the meantime.
            if _is_the_file(file, path / _LOCK):
                yield True
                return
        if not create:
            yield False
            return


def _is_the_file(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
