"""Which runs and checkpoints read a document: by the sample stream's own function, step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np

from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import MANIFEST, ManifestError, read_manifest
from medpipe.lineage.places import Place, places_in_dataset
from medpipe.pretrain.seen import RecordedRun, RunError, first_at_or_after, trained_steps


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What one run, one stage of a curriculum with one seed, read of some documents."""

    run: str
    """`<curriculum>/<stage>/<stage digest>-<seed>`."""
    folder: str
    snapshot: str
    complete: bool
    trained_to: int
    """Last step that a checkpoint on the disk has read."""
    steps: tuple[int, ...] = ()
    """The steps that read any of it, counted over the whole curriculum from 1."""
    shards: tuple[str, ...] = ()
    """Shards that it was read from."""
    first_checkpoint: int | None = None
    """The earliest checkpoint on the disk that has read it; every one of a later step has, too."""
    checkpoints: tuple[int, ...] = ()
    """All checkpoints on the disk that have."""
    goes_on_from: tuple[str, ...] = ()
    """Runs before this one, whose weights it went on from, that had read it by then: then all of its
    checkpoints have."""
    unknown: str | None = None
    """Why nothing exact can be said, where it cannot."""

    @property
    def has_seen(self) -> bool:
        """Whether any checkpoint of the run, there or deleted, has or may have read it."""
        return (
            bool(self.goes_on_from)
            or self.unknown is not None
            or any(step <= self.trained_to for step in self.steps)
        )

    @property
    def is_concerned(self) -> bool:
        """Whether the run reads it at any time."""
        return bool(self.steps or self.goes_on_from) or self.unknown is not None


def places_of_runs(
    lake: Lake, runs: Iterable[RecordedRun], ids: Collection[str], sources: Collection[str]
) -> list[Place]:
    """Where some documents of some sources lie in the shards that any run trains on."""
    places: list[Place] = []
    for folder in sorted({folder for run in runs for folder in _folders(run, sources)}):
        domain, source, digest = folder.split("/")
        path = lake.dataset("shards", domain, source, digest=digest)
        try:
            places += places_in_dataset(Dataset(path, read_manifest(path)), ids)
        except ManifestError:
            continue
    return places


def _folders(run: RecordedRun, sources: Collection[str]) -> Iterator[str]:
    """The shard data sets of some sources that a run trains on, as `domain/source/digest`."""
    for key in run.shard_keys:
        folder = key.rpartition("/")[0]
        if folder.split("/")[1] in sources:
            yield folder


@dataclass
class _Read:
    steps: set[int] = field(default_factory=set)
    shards: set[str] = field(default_factory=set)
    unknown: str | None = None


def exposures(
    runs: Sequence[RecordedRun], places: Iterable[Place], *, sources: Collection[str] = ()
) -> list[Exposure]:
    """What each run read of some documents, or went on from.

    Args:
        runs: runs of a lake, in any order; of a run that is not among them nothing is known.
        places: the documents, in all shards that still hold them; with a `passage` only its tokens count.
        sources: the documents' sources: of a run that trained on shards of theirs which are gone nothing is
            known.

    Returns:
        One entry a run that reads any of it or may have, in the order of the runs.
    """
    by_shard: defaultdict[str, list[Place]] = defaultdict(list)
    for place in places:
        by_shard[place.shard].append(place)
    found: dict[Path, Exposure] = {}
    for run in _parents_first(runs):
        exposure = _exposure(run, _read(run, by_shard, sources))
        parent = found.get(run.parent_folder) if run.parent_folder else None
        if parent is not None and (before := _behind_the_start(run, parent)):
            exposure = replace(
                exposure,
                goes_on_from=before,
                first_checkpoint=min(run.checkpoints, default=None),
                checkpoints=run.checkpoints,
            )
        found[run.folder] = exposure
    return [each for run in runs if (each := found[run.folder]).is_concerned]


def _parents_first(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs, each behind the one it goes on from, which another curriculum may have trained."""
    by_folder = {run.folder: run for run in runs}
    parents = {run.folder: [run.parent_folder] if run.parent_folder else [] for run in runs}
    order = TopologicalSorter(parents).static_order()
    return [by_folder[folder] for folder in order if folder in by_folder]


def _behind_the_start(run: RecordedRun, parent: Exposure) -> tuple[str, ...]:
    """The runs that had read it when the run took over its parent's weights.

    Those may be of a checkpoint before the parent's end: what the parent read later is no part of them.
    """
    start = run.facts.first_step
    has_read = parent.unknown is not None or any(step <= start for step in parent.steps)
    return (*parent.goes_on_from, *((parent.run,) if has_read else ()))


def _read(run: RecordedRun, by_shard: dict[str, list[Place]], sources: Collection[str]) -> _Read:
    read = _Read()
    gone = [
        folder
        for folder in sorted(set(_folders(run, sources)))
        if not (run.lake.root / "shards" / folder / MANIFEST).is_file()
    ]
    if gone:
        read.unknown = f"it trained on shards/{gone[0]}, which are not in the lake any more"
        return read
    for key in run.shard_keys:
        for place in by_shard.get(key, ()):
            try:
                steps = run.steps_that_read(key, place.start, place.stop)
            except RunError as error:
                read.unknown = str(error)
                return read
            if len(steps):
                read.steps.update(np.asarray(steps).tolist())
                read.shards.add(key)
    return read


def _exposure(run: RecordedRun, read: _Read) -> Exposure:
    first = min(read.steps, default=None)
    seen = () if first is None else tuple(step for step in run.checkpoints if step >= first)
    return Exposure(
        run=run.name,
        folder=str(run.folder),
        snapshot=run.snapshot,
        complete=run.is_complete,
        trained_to=trained_steps(run),
        steps=tuple(sorted(read.steps)),
        shards=tuple(sorted(read.shards)),
        first_checkpoint=None if first is None else first_at_or_after(run.checkpoints, first),
        checkpoints=seen,
        unknown=read.unknown,
    )
