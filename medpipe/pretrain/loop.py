"""The training loop of one stage: steps, metrics, checkpoints, progress, and stopping in good order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from medpipe.pretrain.checkpoint import checkpoint_folder
from medpipe.pretrain.checkpoint_writer import CheckpointWriter
from medpipe.pretrain.device_peak import peak_flops
from medpipe.pretrain.estimate import training_flops_per_token
from medpipe.pretrain.stop import Progress, Stopped, StopRequest
from medpipe.pretrain.training import StepResult, Training
from medpipe.pretrain.training_state import BestCheckpoint, TrainingState
from medpipe.tracking.spool import Spool, read_events
from medpipe.tracking.system import SystemMonitor

PROGRESS_SECONDS = 2.0

Measure = Callable[[], Mapping[str, float]]


def train(
    training: Training,
    *,
    checkpoints: Path,
    spool: Spool | None,
    progress: Progress,
    stop: StopRequest,
    measure: Measure,
) -> Path:
    """Trains a stage to its end and saves the final checkpoint.

    Args:
        training: the stage, at its start or restored.
        checkpoints: folder of the run's checkpoints.
        spool: takes the metrics; None on ranks but the first, which write nothing.
        progress: told a line every two seconds.
        stop: looked at after each step.
        measure: gives bits per byte, `all` and by domain, where the plan measures on the way.

    Returns:
        The final checkpoint's folder; it is noted in the spool once it has been measured, those before
        it as soon as they are on the disk.

    Raises:
        Stopped: asked to; a checkpoint of the last finished step is saved.
        NonFiniteError: loss or gradient is not finite; the newest checkpoint is as it was.
        DiskFullError: a checkpoint or a metric could not be written.
    """
    plan = training.compiled.plan
    meter = _Meter(training, checkpoints.parent)
    last = training.stage.first_step + training.stage.steps

    def note(path: Path, state: TrainingState) -> None:
        if spool is not None and state.step < last:
            note_checkpoint(path, state, spool)

    with CheckpointWriter(checkpoints, keep=plan.keep_checkpoints, on_written=note) as writer:
        if (
            _is_measured(training)
            and training.step > training.stage.first_step
            and not training.bits_per_byte
        ):
            # Stopped while it was measured: what follows must know the best one as if it had not been.
            _measure(training, measure)
            contents = training.contents()
            if spool is not None:
                writer.submit(contents)
        while not training.is_finished:
            is_first = training.step == training.stage.first_step
            result = training.train_step()
            step = training.step
            meter.add(result)
            is_logged = is_first or step == last or result.spike or step % plan.log_every_steps == 0
            if spool is not None and is_logged:
                spool.metrics(meter.metrics(result), step=step, tokens=training.tokens)
            meter.report(result, progress)
            if result.spike:
                progress(f"step {step - training.stage.first_step} was left out: {result.spike}")
            is_measured = _is_measured(training)
            if is_measured:
                with contextlib.suppress(Stopped):  # it is saved below, and measured when it goes on
                    _measure(training, measure)
            is_asked = training.ranks.any(stop.signal_name is not None, training.compute.device)
            is_stopping = is_asked and step < last
            training.laps.start()
            if step == last or is_measured or is_stopping or step % plan.checkpoint_every_steps == 0:
                contents = training.contents()
                if spool is not None:
                    writer.submit(contents)
            writer.poll()
            training.laps.lap("checkpoint")
            if is_stopping:
                writer.wait()
                name = checkpoint_folder(checkpoints, step).name
                raise Stopped(
                    f"stopped by {stop.signal_name or 'another rank'} after step {step}; {name} is saved, "
                    "run again to go on from it"
                )
    return checkpoint_folder(checkpoints, last)


def _is_measured(training: Training) -> bool:
    """Whether bits per byte are to be measured at this step; behind the last one they are in any case."""
    interval = training.compiled.plan.measure_every_steps
    return interval is not None and training.step % interval == 0 and not training.is_finished


def _measure(training: Training, measure: Measure) -> None:
    """Notes bits per byte at this step, and whether it is the best so far."""
    training.bits_per_byte = dict(measure())
    overall = training.bits_per_byte["all"]
    if training.best is None or overall < training.best.bits_per_byte:
        training.best = BestCheckpoint(
            step=training.step,
            bits_per_byte=overall,
            measured_on=training.compiled.validation_digest,
        )


def note_checkpoint(
    path: Path,
    state: TrainingState,
    spool: Spool,
    *,
    final_values: Mapping[str, float] | None = None,
    measured_on: str | None = None,
) -> None:
    """Spools a checkpoint that is not there yet: a process may be killed between a save and its note.

    Args:
        path: `<run folder>/checkpoints/<step>`.
        state: what it holds.
        spool: the run folder's spool.
        final_values: bits per byte after the stage's end, `all` and by domain; what was measured at the
            checkpoint if unset. A checkpoint with them bears the stage's name.
        measured_on: digest of what `final_values` were measured on.
    """
    bits = state.bits_per_byte if final_values is None else final_values
    values = {f"eval/bits_per_byte/{name}": value for name, value in bits.items()}
    for event in read_events(spool.path):
        if event.kind == "checkpoint" and event.step == state.step and event.values == values:
            return
    name = f"{state.stage}-{state.step:08d}" if final_values is None else state.stage
    relative = path.relative_to(path.parents[1]).as_posix()
    spool.checkpoint(
        relative,
        name=name,
        step=state.step,
        tokens=state.tokens,
        values=values,
        measured_on=state.measured_on if final_values is None else measured_on,
    )


class _Meter:
    """Speed and time left; none of it enters the training."""

    def __init__(self, training: Training, folder: Path) -> None:
        self._training = training
        self._tick = self._last_log = self._last_report = time.perf_counter()
        self._logged_tokens = 0
        self._speed = 0.0
        self._reported = False
        self._steps = 0
        self._system = SystemMonitor(folder)
        compiled = training.compiled
        self._flops = training_flops_per_token(
            compiled.shape, compiled.vocabulary_size, training.stage.sequence_length
        )
        device = training.compute.device
        self._peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None

    def add(self, result: StepResult) -> None:
        """Counts a finished step."""
        now = time.perf_counter()
        self._training.seconds += now - self._tick
        speed = result.tokens / max(now - self._tick, 1e-9)
        self._speed = speed if self._speed == 0 else 0.9 * self._speed + 0.1 * speed
        self._tick = now
        self._logged_tokens += result.tokens
        self._steps += 1

    def metrics(self, result: StepResult) -> dict[str, float]:
        """The spool's values at this step."""
        now = time.perf_counter()
        speed = self._logged_tokens / max(now - self._last_log, 1e-9)
        self._last_log, self._logged_tokens = now, 0
        parts = {
            f"time/{name}_ms": 1e3 * seconds / self._steps
            for name, seconds in self._training.laps.take().items()
        }
        self._steps = 0
        use = {} if self._peak is None else {"train/mfu": speed * self._flops / self._peak}
        return {
            **parts,
            **use,
            **self._system.sample(),
            "train/skipped_steps": float(len(self._training.skipped)),
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
