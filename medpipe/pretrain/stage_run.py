"""Runs one stage in its run folder: reuse, resume, train, measure, record."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer

from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.pretrain.bits_per_byte import BitsPerByte
from medpipe.pretrain.checkpoint import CheckpointError, checkpoint_folder, read_state, verify_checkpoint
from medpipe.pretrain.compile import CompiledPlan, CompiledStage
from medpipe.pretrain.corpus import ShardInfo
from medpipe.pretrain.dataset import StageData
from medpipe.pretrain.generate import Sampling, generate_text
from medpipe.pretrain.held_out import measure_held_out
from medpipe.pretrain.integrity import refuse_changed_inputs
from medpipe.pretrain.loop import note_checkpoint, train
from medpipe.pretrain.model import count_parameters, device_and_precision
from medpipe.pretrain.origin import (
    ParentMissingError,
    origin_in_words,
    own_checkpoint,
    parent_checkpoint,
)
from medpipe.pretrain.plan import STAGES
from medpipe.pretrain.ranks import Ranks
from medpipe.pretrain.result import (
    CHECKPOINTS,
    SPOOL,
    STAGE,
    StageResult,
    describe_stage,
    read_result,
    stage_run_folder,
    training_here,
    write_result,
)
from medpipe.pretrain.stop import Progress, Stopped, StopRequest
from medpipe.pretrain.training import Training
from medpipe.pretrain.zero import StrategyError
from medpipe.records.kinds import Split
from medpipe.tokens.shard import OpenShard, open_shards
from medpipe.tracking.spool import Spool

if TYPE_CHECKING:
    from medpipe.tokens.snapshot import CorpusSnapshot


@dataclass(frozen=True)
class Finished:
    """Outcome of `StageRun.run`."""

    result: StageResult
    reused: bool
    """Nothing was trained: the stage was complete."""


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage and the lake it runs in."""

    compiled: CompiledPlan
    stage: CompiledStage
    lake: Lake
    snapshot: CorpusSnapshot
    """The corpus the plan was compiled with."""
    progress: Progress
    """Told what happens, a line at a time."""
    stop: StopRequest
    """Looked at between steps."""
    ranks: Ranks = Ranks()  # noqa: RUF009 - frozen
    """Who trains along."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return stage_run_folder(self.lake, self.compiled, self.stage.name)

    def run(self) -> Finished:
        """Brings the stage to its end, from wherever an earlier process left it.

        Raises:
            ParentMissingError: the stage before is not complete.
            RunLockedError: another process trains in this run folder.
            CheckpointError: checkpoints are damaged or of another stage.
            ShardError: a shard is damaged or of another tokenizer.
            ChangedInputError: shards or tokenizer are not what the plan was compiled with.
            StrategyError: a batch does not divide over the processes.
            Stopped: asked to stop; a checkpoint is saved.
            NonFiniteError: loss or gradient is not finite.
        """
        if self.stage.sequences_per_step % self.ranks.size:  # torchrun may be started by hand
            raise StrategyError(
                f"a step of {self.stage.sequences_per_step} sequences does not divide over "
                f"{self.ranks.size} processes; start as many as devices.processes says "
                f"({self.compiled.plan.devices.processes})"
            )
        folder, is_first = self.folder, self.ranks.is_first
        with training_here(folder) if is_first else contextlib.nullcontext():
            result = self._complete_already()
            if result is not None:
                return Finished(result, reused=True)
            if self.stage.taken_from is not None:
                raise ParentMissingError(
                    f"{self.stage.name} is taken over from {folder}, where it is not finished; train it "
                    "there, or run the stages behind it only"
                )
            parent = parent_checkpoint(self.compiled, self.stage, self.lake)
            if self.compiled.plan.threads is not None:
                torch.set_num_threads(self.compiled.plan.threads)
            if is_first:
                write_json_atomically(folder / STAGE, describe_stage(self.compiled, self.stage))
            training = self._prepare(parent)
            with Spool(folder / SPOOL) if is_first else contextlib.nullcontext() as spool:
                if spool is not None:
                    spool.truncate_after(training.step)
                    self._note_resumed(training, spool)
                checkpoint = train(
                    training,
                    checkpoints=folder / CHECKPOINTS,
                    spool=spool,
                    progress=self.progress,
                    stop=self.stop,
                    measure=lambda: self._measure(training).as_detailed_metrics(),
                )
                result = self._record(training, checkpoint, spool)
            return Finished(result, reused=False)

    def _note_resumed(self, training: Training, spool: Spool) -> None:
        """Notes the checkpoint that is gone on from, if a killed process did not come to it."""
        if training.step > self.stage.first_step and not training.is_finished:
            path = checkpoint_folder(self.folder / CHECKPOINTS, training.step)
            note_checkpoint(path, read_state(path), spool)

    def _complete_already(self) -> StageResult | None:
        """The result, if its checkpoint is whole and was measured on the same held-out text."""
        result = read_result(self.folder)
        if result is None:
            return None
        try:
            verify_checkpoint(self.folder / result.checkpoint)
        except CheckpointError as error:
            self.progress(f"was complete, but {error}; training again from the checkpoint before")
            return None
        if result.validation != self.compiled.validation_digest and self.stage.taken_from is None:
            self.progress("complete, but the held-out text or its measure changed; measuring again")
            return None
        self.progress(f"reused, nothing changed since it was trained ({self.folder})")
        return result

    def _prepare(self, parent: Path | None) -> Training:
        """Model, data and counters at the point to go on from."""
        compiled, stage = self.compiled, self.stage
        read = (*stage.shards, *compiled.validation)
        refuse_changed_inputs(self.lake, self.snapshot, compiled.tokenizer, read)
        data = StageData(
            stage,
            [shard.tokens for shard in self._open(stage.shards, Split.TRAIN)],
            seed=compiled.plan.seed,
            eos_id=compiled.tokenizer.eos_id,
        )
        compute = device_and_precision(compiled.plan)
        training = Training.begin(compiled, stage, data=data, compute=compute, ranks=self.ranks)
        own = own_checkpoint(self.folder, compiled, stage, warn=self.progress)
        start = own or parent
        if start is not None:
            for difference in training.restore(start):
                self.progress(f"{difference}; the run goes on equivalent, maybe not equal bit for bit")
        if own is not None:
            origin = f"resuming after step {training.step - stage.first_step} of {stage.steps}"
        else:
            origin = origin_in_words(compiled, stage, is_fresh=start is None)
        self.progress(
            f"{origin}; {count_parameters(training.model):,} parameters on {training.compute.device.type} "
            f"in {training.compute.precision.value}, {self.ranks.size} processes of "
            f"{torch.get_num_threads()} threads, {stage.steps} steps "
            f"of {stage.sequences_per_step * stage.sequence_length:,} tokens"
        )
        return training

    def _open(self, shards: tuple[ShardInfo, ...], split: Split) -> list[OpenShard]:
        """The shards, in that order."""
        opened = {
            (shard.domain, shard.source, shard.name): shard
            for shard in open_shards(self.lake, self.snapshot, split=split)
        }
        return [opened[shard.domain, shard.source, shard.name] for shard in shards]

    def _measure(self, training: Training) -> BitsPerByte:
        """Bits per byte of the model on the plan's held-out text."""
        return measure_held_out(
            training.model,
            training.compute,
            compiled=self.compiled,
            lake=self.lake,
            snapshot=self.snapshot,
            batch_sequences=training.micro_batch,
            check=lambda: self._break_off(training),
        )

    def _break_off(self, training: Training) -> None:
        """Ends a measurement where a signal asks for it, on all ranks at the same batch."""
        if self.ranks.any(self.stop.signal_name is not None, training.compute.device):
            raise Stopped(f"stopped by {self.stop.signal_name or 'another rank'}")

    def _record(self, training: Training, checkpoint: Path, spool: Spool | None) -> StageResult:
        """Measures the finished stage, notes its checkpoint, and writes the result last."""
        stage = self.stage
        self.progress("measuring bits per byte on held-out text")
        bits = self._measure(training)
        relative = checkpoint.relative_to(self.folder).as_posix()
        if spool is not None:
            values, digest = bits.as_detailed_metrics(), self.compiled.validation_digest
            state = read_state(checkpoint)
            note_checkpoint(checkpoint, state, spool, final_values=values, measured_on=digest)
        by_source = training.tokens_by_source[stage.name]
        if training.loss_first is None or training.loss_last is None:
            raise AssertionError("a finished stage has taken at least one step")
        result = StageResult(
            stage=stage.name,
            digest=stage.digest,
            steps=stage.steps,
            first_step=stage.first_step,
            tokens=by_source.total(),
            seconds=round(training.seconds, 3),
            loss_first=training.loss_first,
            loss_last=training.loss_last,
            bits_per_byte=bits.as_metrics(),
            bits_per_byte_by_language=bits.by_domain_and_language,
            validation=self.compiled.validation_digest,
            checkpoint=relative,
            tokens_by_source=dict(by_source),
            parameters=count_parameters(training.model),
            device=training.compute.device.type,
            precision=training.compute.precision.value,
            threads=torch.get_num_threads(),
            skipped=tuple(training.skipped),
            best_step=None if training.best is None else training.best.step,
            sample=self._write_sample(training) if stage.name == STAGES[-1] else None,
        )
        if spool is not None:
            write_result(self.folder, result)
        self.progress(f"complete, {bits.overall:.3f} bits per byte on held-out text")
        return result

    def _write_sample(self, training: Training) -> str:
        """A few lines of text, one a prompt of the plan."""
        compiled = self.compiled
        tokenizer = Tokenizer.from_file(str(compiled.tokenizer.path))
        settings = compiled.plan.sample
        sampling = Sampling(max_new_tokens=settings.tokens, top_k=settings.top_k, seed=compiled.plan.seed)
        return "\n".join(
            generate_text(
                training.model, tokenizer, prompt, eos_id=compiled.tokenizer.eos_id, sampling=sampling
            )
            for prompt in settings.prompts
        )
