"""Run folders and what a finished stage leaves in them; imports neither torch nor dagster."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from medpipe.lake.files import write_bytes_atomically, write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import has_all_files
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.pretrain.refusals import killed_in_words
from medpipe.pretrain.run_folder import CHECKPOINTS, FAILURE, RESULT, RUNNING, SPOOL, STAGE

if TYPE_CHECKING:
    from medpipe.pretrain.compile import CompiledPlan, CompiledStage

__all__ = ["CHECKPOINTS", "FAILURE", "RESULT", "SPOOL", "STAGE", "ResultError", "StageResult"]


class ResultError(ValueError):
    """A run folder's result cannot be read; the message names it and the fix."""


class StageResult(BaseModel):
    """Facts of a finished stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    digest: str
    steps: int
    first_step: int
    """Global optimizer steps before the stage."""
    tokens: int
    """Target tokens the stage trained on."""
    seconds: float
    """Time spent in training steps and checkpoints."""
    loss_first: float
    loss_last: float
    bits_per_byte: dict[str, float]
    """`all` and each domain."""
    bits_per_byte_by_language: dict[str, dict[str, float]]
    """Each domain, by language."""
    validation: str
    """Digest of the held-out shards that bits per byte were measured on."""
    checkpoint: str
    """Folder of the final checkpoint, relative to the run folder."""
    tokens_by_source: dict[str, int]
    parameters: int
    device: str
    precision: str
    threads: int
    skipped: tuple[int, ...] = ()
    """Global steps, counted from 1, whose update was left out as a spike."""
    best_step: int | None = None
    """Global step of the best checkpoint on the way, where the stage was measured there."""
    sample: str | None = None
    """A few lines the last stage's model wrote."""

    @property
    def is_finite(self) -> bool:
        """Whether losses and all bits per byte are finite numbers."""
        values = (self.loss_first, self.loss_last, *self.bits_per_byte.values())
        return all(math.isfinite(value) for value in values)


def stage_run_folder(lake: Lake, compiled: CompiledPlan, stage: str) -> Path:
    """Folder of one stage's run: `runs/<curriculum>/<stage digest>-<seed>`.

    A stage that was taken over lies where the earlier run trained it.
    """
    plan, found = compiled.plan, compiled.stage(stage)
    if found.taken_from is not None:
        curriculum, name = found.taken_from.split("/")
        return lake.runs(curriculum) / name
    return lake.runs(plan.name) / f"{found.digest}-{plan.seed}"


def read_result(folder: Path) -> StageResult | None:
    """The result in a run folder; None if the stage is not complete.

    Raises:
        ResultError: there is one, but it cannot be read.
    """
    path = folder / RESULT
    try:
        return StageResult.model_validate(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise ResultError(
            f"{path} cannot be read ({error}); remove that file and run the stage again: it goes on "
            "from its last checkpoint"
        ) from error


def write_result(folder: Path, result: StageResult) -> None:
    """Writes the result atomically: from then on the stage is complete."""
    write_json_atomically(folder / RESULT, result.model_dump(mode="json"))


def is_current(folder: Path, compiled: CompiledPlan) -> bool:
    """Whether a stage needs no trainer.

    It is complete, its checkpoint's files are there, and it was measured on the held-out text of the
    compiled plan; a stage that was taken over keeps the earlier run's measure. Digests are not compared; the
    trainer does that before it goes on from a checkpoint.
    """
    result = read_result(folder)
    if result is None:
        return False
    is_taken_over = all(stage.digest != result.digest or stage.taken_from for stage in compiled.stages)
    if result.validation != compiled.validation_digest and not is_taken_over:
        return False
    return has_all_files(folder / result.checkpoint)


@contextlib.contextmanager
def training_here(folder: Path) -> Iterator[None]:
    """Holds a run folder, and leaves a mark in it that only a process that is killed does not take away.

    Raises:
        RunLockedError: another process holds it; its notes are left alone.
    """
    with run_lock(folder):
        clear_failure(folder)
        write_bytes_atomically(folder / RUNNING, f"{os.getpid()}\n".encode())
        try:
            yield
        finally:
            (folder / RUNNING).unlink(missing_ok=True)


def write_failure(folder: Path, reason: str) -> None:
    """Notes why a trainer ended without a result, for the one who started it."""
    write_bytes_atomically(folder / FAILURE, reason.encode())


def clear_failure(folder: Path) -> None:
    """Forgets why an earlier trainer ended."""
    (folder / FAILURE).unlink(missing_ok=True)


def trainer_failure(folder: Path, return_code: int | None = None) -> str | None:
    """Why the last trainer ended without a result; None if it could not say.

    Args:
        folder: the run folder.
        return_code: of the trainer's process, if known; negative for a signal.
    """
    if not folder.is_dir():
        return None
    try:
        with run_lock(folder):
            if (folder / RUNNING).exists():
                return killed_in_words(folder, return_code)
            return (folder / FAILURE).read_text(encoding="utf-8")
    except RunLockedError as error:
        return str(error)
    except FileNotFoundError:
        return None


def describe_stage(compiled: CompiledPlan, stage: CompiledStage) -> dict[str, Any]:
    """What a stage is made of, as `stage.json` keeps it for people and for lineage."""
    return {
        "stage": stage.name,
        "digest": stage.digest,
        "parent": stage.parent,
        "first_step": stage.first_step,
        "steps": stage.steps,
        "sequences_per_step": stage.sequences_per_step,
        "sequence_length": stage.sequence_length,
        "snapshot": compiled.snapshot,
        "tokenizer": compiled.tokenizer.digest,
        "components": [
            {
                "label": component.label,
                "share": component.share,
                "samples": component.samples,
                "epochs": component.epochs,
                "shards": [shard.key for shard in component.shards],
            }
            for component in stage.components
        ],
        "validation": [shard.key for shard in compiled.validation],
        "plan": compiled.plan.model_dump(mode="json"),
        **_lineage(compiled, stage),
    }


def _lineage(compiled: CompiledPlan, stage: CompiledStage) -> dict[str, Any]:
    """The checkpoint from elsewhere that a stage began with; nothing for other stages."""
    start = compiled.start
    if start is None or start.at != stage.name:
        return {}
    begun = {"checkpoint": start.folder.as_posix(), "content": start.content, "step": start.step}
    if start.run is None:
        return {"start_from": begun}
    return {"start_from": {**begun, "snapshot": start.snapshot}, "parent_run": start.run}
