"""Trains the stages of a comparison, each in a process of its own; what is complete is not trained again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from medpipe.evaluate.arms import TRUNK, Arm
from medpipe.lake.files import write_bytes_atomically
from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.curriculum import FinishedStage
from medpipe.pretrain.launch import trainer_environment
from medpipe.pretrain.plan import Plan
from medpipe.pretrain.result import read_result, stage_run_folder, trainer_failure
from medpipe.pretrain.tracked import track_compiled
from medpipe.settings import Settings

News = Callable[[str], None]


class ArmError(RuntimeError):
    """A trainer did not come to its end; its own words are in the message."""


def train_trunk(
    compiled: CompiledPlan, plan_file: Path, *, settings: Settings, is_tracked: bool, lake: Lake, say: News
) -> int:
    """Brings the plan's own stages before the decay to their end, in the folders of a normal run.

    Returns:
        How many stages were trained, not reused.

    Raises:
        ArmError: a trainer failed.
    """
    own = [stage.name for stage in compiled.stages if stage.name in TRUNK and stage.taken_from is None]
    return sum(
        _train(compiled, stage, plan_file, settings, is_tracked=is_tracked, lake=lake, say=say, label="plan")
        for stage in own
    )


def train_arm(arm: Arm, *, settings: Settings, is_tracked: bool, lake: Lake, say: News, label: str) -> int:
    """Brings an arm to its end; its plan lies beside its run folders.

    Args:
        arm: the arm.
        settings: name the MLflow server.
        is_tracked: whether it is told.
        lake: where it runs.
        say: takes a line of news at a time.
        label: what the arm is called in them.

    Returns:
        How many stages were trained, not reused.

    Raises:
        ArmError: a trainer failed.
    """
    plan_file = write_plan(arm.plan, lake)
    return sum(
        _train(
            arm.compiled, stage, plan_file, settings, is_tracked=is_tracked, lake=lake, say=say, label=label
        )
        for stage in arm.stages
    )


def write_plan(plan: Plan, lake: Lake) -> Path:
    """Writes a derived plan where a person finds and can rerun it: `runs/<name>/seed-<seed>.yaml`."""
    path = lake.runs(plan.name) / f"seed-{plan.seed}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = plan.model_dump(mode="json", exclude_unset=True)
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    write_bytes_atomically(path, text.encode())
    return path


def last_stage(compiled: CompiledPlan, stage: str, lake: Lake) -> FinishedStage:
    """What a finished stage left.

    Raises:
        ArmError: it is not complete.
    """
    folder = stage_run_folder(lake, compiled, stage)
    result = read_result(folder)
    if result is None:
        raise ArmError(f"stage {stage} of {compiled.plan.name} is not complete in {folder}")
    return FinishedStage(result, folder)


def _train(
    compiled: CompiledPlan,
    stage: str,
    plan_file: Path,
    settings: Settings,
    *,
    is_tracked: bool,
    lake: Lake,
    say: News,
    label: str,
) -> bool:
    """Brings one stage to its end; returns whether anything was left to do."""
    tracked = track_compiled(compiled, stage, plan_file=plan_file, settings=settings, lake=lake)
    if tracked.complete:
        say(f"{label}: {stage} is complete")
        return False
    with tracked.following() if is_tracked else contextlib.nullcontext():
        status = run_trainer(tracked.command, lambda line: say(f"{label}: {line}"))
        if status != 0:
            reason = trainer_failure(tracked.folder) or f"it ended with status {status}"
            raise ArmError(f"{label}: the trainer of {stage} did not come to its end: {reason}")
    if is_tracked and tracked.replay.last_error is not None:
        say(f"{label}: {tracked.replay.pending} events are not in MLflow: {tracked.replay.last_error}")
    return True


def run_trainer(command: list[str], say: News) -> int:
    """Runs a trainer to its end and passes on what it says.

    On an interrupt the trainer is asked once, by SIGINT, to save a checkpoint, and waited for: it has a
    session of its own, so that Ctrl-C of a terminal does not reach it a second time.

    Returns:
        Its exit status.

    Raises:
        KeyboardInterrupt: after the trainer has ended.
    """
    # Polars' SIGINT handler restarts system calls; the interrupt would wait for the trainer's next line.
    signal.siginterrupt(signal.SIGINT, True)
    process = subprocess.Popen(
        command,
        env=os.environ | trainer_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines = process.stderr
    if lines is None:
        raise AssertionError("stderr is a pipe")
    with process:
        try:
            _pass_on(lines, say)
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            _pass_on(lines, say)
            process.wait()
            raise


def _pass_on(lines: Iterable[str], say: News) -> None:
    """Tells a trainer's lines, without the progress bars of its libraries."""
    for line in lines:
        if line.strip() and "it/s]" not in line:
            say(line.rstrip())
