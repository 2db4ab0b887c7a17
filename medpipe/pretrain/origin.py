"""The checkpoint that a stage goes on from: its own newest one, the stage before's last, or another run's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medpipe.lake.layout import Lake
from medpipe.pretrain.checkpoint import CheckpointError, newest_checkpoint, read_state, verify_checkpoint
from medpipe.pretrain.compile import CompiledPlan, CompiledStage
from medpipe.pretrain.result import CHECKPOINTS, RESULT, SPOOL, read_result, stage_run_folder
from medpipe.pretrain.start import Start
from medpipe.tracking.spool import read_events


class ParentMissingError(RuntimeError):
    """The stage before is not complete."""


def origin_in_words(compiled: CompiledPlan, stage: CompiledStage, *, is_fresh: bool) -> str:
    """Where a stage that has no checkpoint of its own begins, for a person."""
    if compiled.start is not None and compiled.start.at == stage.name:
        return f"going on from {compiled.start.folder}"
    return "starting from fresh weights" if is_fresh else "going on from the stage before"


def own_checkpoint(
    folder: Path, compiled: CompiledPlan, stage: CompiledStage, *, warn: Callable[[str], None]
) -> Path | None:
    """The newest whole checkpoint in a stage's run folder; None where the stage has written none yet.

    Args:
        folder: the stage's run folder.
        compiled: the plan.
        stage: the stage.
        warn: told of damaged checkpoints, and of steps that no checkpoint was written for.

    Raises:
        CheckpointError: checkpoints are damaged, of another stage or seed, or they were there and are gone.
        ResultError: there is a result that cannot be read.
        SpoolError: the spool is broken.
    """
    checkpoints = folder / CHECKPOINTS
    own = newest_checkpoint(checkpoints, stage_digest=stage.digest, warn=warn)
    if own is not None:
        seed = read_state(own).seed
        if seed != compiled.plan.seed:
            raise CheckpointError(
                f"checkpoint {own} was trained with seed {seed}, the plan has {compiled.plan.seed}; move it "
                "away or run the plan that made it"
            )
        return own
    events = list(read_events(folder / SPOOL))
    noted = [event.path for event in events if event.kind == "checkpoint"]
    if noted or read_result(folder) is not None:
        named = f"{folder / SPOOL} names {noted[-1]}" if noted else f"{folder / RESULT} is there"
        raise CheckpointError(
            f"{named}, but {checkpoints} holds no checkpoint; bring it back, or remove {folder} to train the "
            "stage from its start"
        )
    if events:
        reached = events[-1].step - stage.first_step
        warn(f"step {reached} was reached before, without a checkpoint; the stage begins again")
    return None


def parent_checkpoint(compiled: CompiledPlan, stage: CompiledStage, lake: Lake) -> Path | None:
    """The final checkpoint of the stage before, verified; None where weights alone begin the run.

    Raises:
        ParentMissingError: the stage before is not complete.
        CheckpointError: the checkpoint is damaged, of another stage, or changed since the plan was compiled.
    """
    start = compiled.start
    if start is not None and start.at == stage.name:
        return None if start.is_published else _start_checkpoint(start)
    parent = compiled.parent(stage.name)
    if parent is None:
        return None
    folder = stage_run_folder(lake, compiled, parent.name)
    result = read_result(folder)
    if result is None:
        raise ParentMissingError(
            f"goes on from {parent.name}, which is not complete in {folder}; "
            f"materialise pretrain/{parent.name} first"
        )
    path = folder / result.checkpoint
    try:
        verify_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; materialise pretrain/{parent.name} again to restore it") from None
    digest = read_state(path).stage_digest
    if digest != parent.digest:
        raise CheckpointError(
            f"checkpoint {path} is of stage digest {digest}, not {parent.digest}; "
            f"remove {folder} and materialise pretrain/{parent.name} again"
        )
    return path


def _start_checkpoint(start: Start) -> Path:
    """The checkpoint of an earlier run that the plan starts from, verified."""
    try:
        manifest = verify_checkpoint(start.folder)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; bring it back, materialise pretrain/{start.stage_name} of the earlier run again to "
            "restore it, or let start_from name another checkpoint"
        ) from None
    if manifest.digest != start.content or read_state(start.folder).stage_digest != start.stage_digest:
        raise CheckpointError(
            f"checkpoint {start.folder} changed after the plan was compiled; run the plan again"
        )
    return start.folder
