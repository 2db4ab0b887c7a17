"""The training loop of one stage: steps, metrics, checkpoints, progress, and stopping in good order."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from medpipe.pretrain.stop import Progress, Stopped, StopRequest
from medpipe.pretrain.training import StepResult, Training
from medpipe.tracking.spool import Spool, read_events

PROGRESS_SECONDS = 2.0


def train(
    training: Training, *, checkpoints: Path, spool: Spool, progress: Progress, stop: StopRequest
) -> Path:
    """Trains a stage to its end and saves the final checkpoint.

    Args:
        training: the stage, at its start or restored.
        checkpoints: folder of the run's checkpoints.
        spool: takes the metrics.
        progress: told a line every two seconds.
        stop: looked at after each step.

    Returns:
        The final checkpoint's folder; it is noted in the spool once it has been measured, those before
        it as soon as they are saved.

    Raises:
        Stopped: asked to; a checkpoint of the last finished step is saved.
        NonFiniteError: loss or gradient is not finite; the newest checkpoint is as it was.
        DiskFullError: a checkpoint or a metric could not be written.
    """
    plan = training.compiled.plan
    meter = _Meter(training)
    saved: Path | None = None
    last = training.stage.first_step + training.stage.steps
    while not training.is_finished:
        first = training.step == training.stage.first_step
        result = training.train_step()
        meter.add(result)
        if first or training.step == last or training.step % plan.log_every_steps == 0:
            spool.metrics(meter.metrics(result), step=training.step, tokens=training.tokens)
        meter.report(result, progress)
        saved = None
        if training.step == last or training.step % plan.checkpoint_every_steps == 0:
            saved = training.save(checkpoints)
            if training.step < last:
                note_checkpoint(training, saved, spool)
        if stop.signal_name is not None and training.step < last:
            saved = saved or training.save(checkpoints)
            note_checkpoint(training, saved, spool)
            raise Stopped(
                f"stopped by {stop.signal_name} after step {training.step}; {saved.name} is saved, "
                "run again to go on from it"
            )
    return saved or checkpoints / f"{training.step:08d}"


def note_checkpoint(
    training: Training, checkpoint: Path, spool: Spool, values: Mapping[str, float] | None = None
) -> None:
    """Spools a checkpoint that is not there yet: a process may be killed between a save and its note.

    Args:
        training: the stage at the checkpoint's step.
        checkpoint: `<run folder>/checkpoints/<step>`.
        spool: the run folder's spool.
        values: what was measured at it; only a stage's last checkpoint is.
    """
    stage = training.stage
    values = dict(values or {})
    for event in read_events(spool.path):
        if event.kind == "checkpoint" and event.step == training.step and event.values == values:
            return
    name = stage.name if values else f"{stage.name}-{training.step:08d}"
    relative = checkpoint.relative_to(checkpoint.parents[1]).as_posix()
    spool.checkpoint(relative, name=name, step=training.step, tokens=training.tokens, values=values)


class _Meter:
    """Speed and time left; none of it enters the training."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._tick = self._last_log = self._last_report = time.perf_counter()
        self._logged_tokens = 0
        self._speed = 0.0
        self._reported = False

    def add(self, result: StepResult) -> None:
        """Counts a finished step."""
        now = time.perf_counter()
        self._training.seconds += now - self._tick
        speed = result.tokens / max(now - self._tick, 1e-9)
        self._speed = speed if self._speed == 0 else 0.9 * self._speed + 0.1 * speed
        self._tick = now
        self._logged_tokens += result.tokens

    def metrics(self, result: StepResult) -> dict[str, float]:
        """The spool's values at this step."""
        now = time.perf_counter()
        speed = self._logged_tokens / max(now - self._last_log, 1e-9)
        self._last_log, self._logged_tokens = now, 0
        return {
            "train/loss": result.loss,
            "train/learning_rate": result.learning_rate,
            "train/gradient_norm": result.gradient_norm,
            "train/tokens_per_second": speed,
            "train/tokens": float(self._training.tokens),
        }

    def report(self, result: StepResult, progress: Progress) -> None:
        """A line of progress, at the first step and then every two seconds."""
        now = time.perf_counter()
        if self._reported and now - self._last_report < PROGRESS_SECONDS:
            return
        self._reported, self._last_report = True, now
        stage = self._training.stage
        done = self._training.step - stage.first_step
        left = (stage.steps - done) * stage.sequences_per_step * stage.sequence_length / self._speed
        progress(
            f"step {done}/{stage.steps}, loss {result.loss:.3f}, "
            f"rate {result.learning_rate:.2e}, {self._speed:,.0f} tokens/s, {left:.0f} s left"
        )
