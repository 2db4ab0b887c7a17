"""Which steps of a recorded run read a range of tokens, and which windows a step read.

A run folder's `stage.json` and the manifests of its shards are all that the sample stream needs; no shard is
opened and no model is loaded. Steps are counted as checkpoints name them: from 1 over the whole curriculum,
so that a checkpoint of step N has read the steps 1 to N.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.pretrain.result import CHECKPOINTS, RESULT, STAGE
from medpipe.pretrain.stage_facts import StageFacts, StageFactsError, read_stage
from medpipe.pretrain.stream import Integers, Sample, SampleStream


class RunError(ValueError):
    """A run cannot be read; the message names it and the fix."""


@dataclass(frozen=True)
class RecordedShard:
    """A shard as a run knows it."""

    key: str
    """`domain/source/digest/name`."""
    tokens: int


@dataclass(frozen=True)
class RecordedComponent:
    """A mixture entry as a run drew from it."""

    samples: int
    shards: tuple[RecordedShard, ...]


@dataclass(frozen=True, kw_only=True)
class RecordedStage:
    """What a stage's stream is made of."""

    digest: str
    first_step: int
    steps: int
    sequences_per_step: int
    sequence_length: int
    components: tuple[RecordedComponent, ...]

    @property
    def samples(self) -> int:
        """Windows that the stage reads."""
        return self.steps * self.sequences_per_step

    @property
    def shards(self) -> tuple[RecordedShard, ...]:
        """All shards of the stage, component by component."""
        return tuple(shard for component in self.components for shard in component.shards)


def steps_that_read(stage: RecordedStage, *, seed: int, key: str, start: int, stop: int) -> Integers:
    """The optimizer steps of a stage that read any of a range of tokens.

    Args:
        stage: the stage.
        seed: the run's seed.
        key: the shard, `domain/source/digest/name`.
        start: first token of the range.
        stop: behind its last token.

    Returns:
        Step numbers in rising order, each once; none where the stage does not read the shard.

    Raises:
        IndexError: the shard has no such tokens.
    """
    return _steps(stage, SampleStream(stage, seed=seed), key, start, stop)


def _steps(stage: RecordedStage, stream: SampleStream, key: str, start: int, stop: int) -> Integers:
    found = [stream.find(place, start, stop) for place, shard in enumerate(stage.shards) if shard.key == key]
    indices = np.concatenate([np.empty(0, dtype=np.int64), *found])
    return np.unique(indices // stage.sequences_per_step) + stage.first_step + 1


def samples_of_step(stage: RecordedStage, stream: SampleStream, step: int) -> list[Sample]:
    """The windows that one optimizer step read.

    Raises:
        IndexError: the stage has no such step.
    """
    place = step - stage.first_step - 1
    if not 0 <= place < stage.steps:
        raise IndexError(
            f"step {step} is none of this stage's steps {stage.first_step + 1} to "
            f"{stage.first_step + stage.steps}"
        )
    first = place * stage.sequences_per_step
    return list(stream.windows(first, first + stage.sequences_per_step))


@dataclass(frozen=True)
class RecordedRun:
    """A run folder: one stage, one seed."""

    folder: Path
    facts: StageFacts
    lake: Lake

    @property
    def curriculum(self) -> str:
        """The plan's name."""
        return self.folder.parent.name

    @property
    def name(self) -> str:
        """`<curriculum>/<stage>/<stage digest>-<seed>`: what a person calls it."""
        return f"{self.curriculum}/{self.facts.stage}/{self.folder.name}"

    @property
    def seed(self) -> int:
        """Seed of weights and data order."""
        return self.facts.seed

    @property
    def snapshot(self) -> str:
        """Name of the corpus snapshot that it trains on."""
        return self.facts.snapshot

    @property
    def parent_folder(self) -> Path | None:
        """Run folder of the stage before, whose weights this one goes on from; None for the first."""
        parent, elsewhere = self.facts.parent, self.facts.parent_run
        if elsewhere is not None:  # the plan began with a checkpoint of another curriculum
            return self.folder.parents[1] / elsewhere
        return None if parent is None else self.folder.parent / f"{parent}-{self.seed}"

    @property
    def shard_keys(self) -> tuple[str, ...]:
        """The shards that it trains on."""
        return tuple(key for component in self.facts.components for key in component.shards)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Steps of the checkpoints that are on the disk, in rising order."""
        folder = self.folder / CHECKPOINTS
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(int(name) for name in names if name.isdigit()))

    @property
    def is_complete(self) -> bool:
        """Whether the stage came to its end."""
        return (self.folder / RESULT).is_file()

    @cached_property
    def stage(self) -> RecordedStage:
        """The stage, with the shards' sizes from their manifests.

        Raises:
            RunError: a shard's manifest is gone, so nothing exact can be said any more.
        """
        sizes: dict[str, int] = {}
        for folder in {key.rpartition("/")[0] for key in self.shard_keys}:
            domain, source, digest = folder.split("/")
            try:
                facts = read_manifest(self.lake.dataset("shards", domain, source, digest=digest)).facts
            except ManifestError as error:
                raise RunError(
                    f"{self.name}: its shards {folder} are gone, so its stream cannot be laid out any more: "
                    f"{error}"
                ) from None
            sizes |= {f"{folder}/{shard['name']}": int(shard["tokens"]) for shard in facts["shards"]}
        try:
            return RecordedStage(
                digest=self.facts.digest,
                first_step=self.facts.first_step,
                steps=self.facts.steps,
                sequences_per_step=self.facts.sequences_per_step,
                sequence_length=self.facts.sequence_length,
                components=tuple(
                    RecordedComponent(
                        component.samples,
                        tuple(RecordedShard(key, sizes[key]) for key in component.shards),
                    )
                    for component in self.facts.components
                ),
            )
        except KeyError as error:
            raise RunError(f"{self.folder / STAGE} does not fit its shards: {error} is missing") from None

    @cached_property
    def stream(self) -> SampleStream:
        """The sample stream of the run."""
        return SampleStream(self.stage, seed=self.seed)

    def steps_that_read(self, key: str, start: int, stop: int) -> Integers:
        """See the function of that name; the stream is laid out once a run."""
        return _steps(self.stage, self.stream, key, start, stop)


def list_runs(lake: Lake) -> Iterator[RecordedRun]:
    """Every run folder of a lake that began to train, by curriculum and first step.

    Raises:
        RunError: a `stage.json` cannot be read.
    """
    runs = []
    for path in sorted((lake.root / "runs").glob(f"*/*/{STAGE}")):
        try:
            runs.append(RecordedRun(path.parent, read_stage(path.parent), lake))
        except StageFactsError as error:
            raise RunError(str(error)) from None
    return iter(sorted(runs, key=lambda run: (run.curriculum, run.facts.first_step, run.folder.name)))


def find_run(lake: Lake, name: str) -> RecordedRun:
    """A run by the path of its folder, or by `<curriculum>`, `<curriculum>/<stage>` or the start of a digest.

    Raises:
        RunError: there is none of that name, or several.
    """
    runs = list(list_runs(lake))
    found = [run for run in runs if _is_called(run, name)]
    if len(found) == 1:
        return found[0]
    listed = "".join(f"\n  {run.name}" for run in found or runs)
    problem = f"{len(found)} runs are called '{name}'" if found else f"no run is called '{name}'"
    raise RunError(f"{problem}; name one of{listed or f' those of a lake with runs; {lake.root} has none'}")


def _is_called(run: RecordedRun, name: str) -> bool:
    path = Path(name)
    if path.is_dir() and path.resolve() == run.folder.resolve():
        return True
    wanted = name.strip("/").split("/")
    curriculum, stage, folder = run.name.split("/")
    if len(wanted) == 1:
        return wanted[0] == curriculum or (len(name) >= 6 and folder.startswith(name))
    rest = wanted[1:]
    return wanted[0] == curriculum and (
        (rest[0] == stage and (len(rest) == 1 or folder.startswith(rest[1]))) or folder.startswith(rest[0])
    )


def trained_steps(run: RecordedRun) -> int:
    """The last step whose outcome a checkpoint on the disk holds; the step before the stage if none does."""
    if run.is_complete:
        return run.facts.first_step + run.facts.steps
    return max(run.checkpoints, default=run.facts.first_step)


def first_at_or_after(checkpoints: Iterable[int], step: int) -> int | None:
    """The earliest of some checkpoints that has read a step."""
    return min((each for each in checkpoints if each >= step), default=None)
