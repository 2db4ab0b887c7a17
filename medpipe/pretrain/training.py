"""A stage in training: everything a checkpoint holds, alive, and the step that moves it on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from medpipe.pretrain.checkpoint import (
    Contents,
    checkpoint_contents,
    load_checkpoint,
    write_checkpoint,
)
from medpipe.pretrain.compile import CompiledPlan, CompiledStage
from medpipe.pretrain.dataset import StageData
from medpipe.pretrain.finite import NonFiniteError
from medpipe.pretrain.laps import Laps
from medpipe.pretrain.loss import batch_loss
from medpipe.pretrain.model import Compute, compile_blocks, first_model
from medpipe.pretrain.optimizer import Optimizer, build_optimizer, clip_gradients, set_learning_rate
from medpipe.pretrain.plan import Precision
from medpipe.pretrain.ranks import Ranks, spread
from medpipe.pretrain.rng import restore_rng, rng_state, seed_everything
from medpipe.pretrain.schedule import step_learning_rate
from medpipe.pretrain.spike import SpikeWindow
from medpipe.pretrain.training_state import BestCheckpoint, TrainingState
from medpipe.pretrain.zero import spread_by_zero


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one optimizer step did."""

    loss: float
    """Mean cross entropy in nats over the step's target tokens."""
    gradient_norm: float
    """Global norm before clipping."""
    learning_rate: float
    tokens: int
    """Target tokens."""
    spike: str | None = None
    """Why the weights were left as they were; None where they were updated."""


@dataclass(kw_only=True)
class Training:
    """Model, optimizer and counters of one stage."""

    compiled: CompiledPlan
    stage: CompiledStage
    data: StageData
    compute: Compute
    model: nn.Module
    forward: nn.Module
    """What a batch goes through: the model, or what spreads it over the ranks."""
    optimizer: Optimizer
    step: int
    """Global optimizer steps taken."""
    ranks: Ranks = Ranks()  # noqa: RUF009 - frozen
    tokens: int = 0
    """Target tokens trained on since the curriculum began."""
    tokens_by_source: dict[str, Counter[str]] = field(default_factory=dict)
    loss_first: float | None = None
    loss_last: float | None = None
    seconds: float = 0.0
    spikes: SpikeWindow = field(default_factory=SpikeWindow)
    skipped: list[int] = field(default_factory=list)
    """Global steps of this stage, counted from 1, whose update was left out."""
    best: BestCheckpoint | None = None
    bits_per_byte: dict[str, float] = field(default_factory=dict)
    """Measured at this step, `all` and by domain; empty where it was not."""
    laps: Laps = field(init=False)

    def __post_init__(self) -> None:
        self.laps = Laps(self.compute.device)

    @classmethod
    def begin(
        cls,
        compiled: CompiledPlan,
        stage: CompiledStage,
        *,
        data: StageData,
        compute: Compute,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> Training:
        """The model that the plan begins with, at the stage's first step."""
        seed_everything(compiled.plan.seed)
        model = first_model(compiled, compute)
        if compiled.plan.compile_blocks:
            compile_blocks(model)
        strategy = compiled.plan.devices.strategy
        forward = spread(model, ranks, strategy)
        built = build_optimizer(model, compiled.plan.optimizer)
        optimizer: Optimizer = built
        if ranks.size > 1 and strategy.is_zero:
            forward, optimizer = spread_by_zero(
                model,
                built,
                strategy=strategy,
                gradient_clip=compiled.plan.optimizer.gradient_clip,
                is_bf16=compute.precision is Precision.BF16,
                hidden_size=compiled.shape.hidden_size,
            )
        return cls(
            compiled=compiled,
            stage=stage,
            data=data,
            compute=compute,
            model=model,
            forward=forward,
            ranks=ranks,
            optimizer=optimizer,
            step=stage.first_step,
        )

    @property
    def micro_batch(self) -> int:
        """Sequences of one forward pass of a rank."""
        share = self.stage.sequences_per_step // self.ranks.size
        return min(share, self.compiled.plan.micro_batch_sequences or share)

    @property
    def cursor(self) -> int:
        """Next sample index of the stage."""
        return (self.step - self.stage.first_step) * self.stage.sequences_per_step

    @property
    def is_finished(self) -> bool:
        """Whether the stage has taken all its steps."""
        return self.step >= self.stage.first_step + self.stage.steps

    def train_step(self) -> StepResult:
        """Takes the next optimizer step; a spike leaves the weights as they were, see `SpikeRule`.

        Raises:
            NonFiniteError: the loss or the gradient is not finite, or too many steps in a row were spikes;
                the weights are unchanged.
        """
        self.laps.start()
        samples = self.data.samples(self.cursor, self.cursor + self.stage.sequences_per_step)
        batch = self.data.read(samples)
        self.laps.lap("data")
        settings = self.compiled.plan.optimizer
        rate = step_learning_rate(self.step - self.stage.first_step, self.stage.name, self.compiled.plan)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        loss = batch_loss(
            self.forward,
            self.compute,
            batch,
            micro_batch=self.micro_batch,
            ranks=self.ranks,
            laps=self.laps,
        )
        norm = clip_gradients(self.model, self.optimizer, settings.gradient_clip)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NonFiniteError(
                f"step {self.step + 1} of stage {self.stage.name}: loss {loss}, gradient norm {norm}; the "
                f"batch is {self.data.describe(samples)}. The last checkpoint is intact; look at these "
                "windows, lower optimizer.peak_learning_rate, or use precision fp32"
            )
        spike = self._spike(loss, norm)
        if spike is None:
            self.optimizer.step()
        self.laps.lap("optimizer")
        self.step += 1
        self.bits_per_byte = {}
        if spike is not None:
            self.skipped.append(self.step)
        self.tokens += batch.target_tokens
        self.tokens_by_source.setdefault(self.stage.name, Counter()).update(
            self.data.tokens_by_source(samples)
        )
        self.loss_first = loss if self.loss_first is None else self.loss_first
        self.loss_last = loss
        return StepResult(
            loss=loss, gradient_norm=norm, learning_rate=rate, tokens=batch.target_tokens, spike=spike
        )

    def _spike(self, loss: float, norm: float) -> str | None:
        """Why the step at hand must not change the weights; notes it in the window."""
        rule = self.compiled.plan.optimizer.spikes
        if rule is None:
            return None
        reason = self.spikes.reason(loss, norm, rule)
        self.spikes.add(loss, norm, rule)
        before = list(range(self.step - rule.most_in_a_row + 1, self.step + 1))
        if reason is not None and self.skipped[-rule.most_in_a_row :] == before:
            raise NonFiniteError(
                f"step {self.step + 1} of stage {self.stage.name}: {reason}, and so were the "
                f"{rule.most_in_a_row} steps before. The last checkpoint is intact; look at what they read "
                "(`medpipe batch`), lower optimizer.peak_learning_rate, or widen optimizer.spikes"
            )
        return reason

    def state(self) -> TrainingState:
        """The counters and generators as a checkpoint keeps them."""
        return TrainingState(
            curriculum=self.compiled.plan.name,
            seed=self.compiled.plan.seed,
            stage=self.stage.name,
            stage_digest=self.stage.digest,
            step=self.step,
            cursor=self.cursor,
            tokens=self.tokens,
            tokens_by_source={name: dict(counts) for name, counts in self.tokens_by_source.items()},
            loss_first=self.loss_first,
            loss_last=self.loss_last,
            seconds=self.seconds,
            spike_losses=tuple(self.spikes.losses),
            spike_gradient_norms=tuple(self.spikes.gradient_norms),
            skipped=tuple(self.skipped),
            best=self.best,
            bits_per_byte=self.bits_per_byte,
            measured_on=self.compiled.validation_digest if self.bits_per_byte else None,
            rng=rng_state(),
            tokenizer=self.compiled.tokenizer.digest,
            shards=tuple(shard.key for shard in self.stage.shards),
            device=self.compute.device.type,
            precision=self.compute.precision.value,
            threads=torch.get_num_threads(),
            micro_batch_sequences=self.micro_batch,
            processes=self.ranks.size,
            compiled=self.compiled.plan.compile_blocks,
            torch_version=torch.__version__,
        )

    def contents(self) -> Contents:
        """A copy of all that a checkpoint holds; every rank must call it."""
        return checkpoint_contents(
            self.model, self.optimizer, self.state(), tokenizer=self.compiled.tokenizer
        )

    def save(self, folder: Path) -> Path:
        """Writes a checkpoint into the run's `checkpoints` and waits for it; see `write_checkpoint`."""
        return write_checkpoint(folder, self.contents(), keep=self.compiled.plan.keep_checkpoints)

    def restore(self, path: Path) -> list[str]:
        """Goes on from a verified checkpoint: of this stage, or the final one of the stage before.

        Returns:
            What differs from the process that wrote it, so that the rest of the run is equivalent to an
            uninterrupted one but maybe not equal bit for bit.
        """
        state = load_checkpoint(path, model=self.model, optimizer=self.optimizer)
        here = self.state()
        self.step, self.tokens = state.step, state.tokens
        self.tokens_by_source = {name: Counter(counts) for name, counts in state.tokens_by_source.items()}
        if state.stage_digest != self.stage.digest and self.stage.name in self.tokens_by_source:
            # A stage of the same name in the run that this plan started from.
            earlier = self.tokens_by_source.pop(self.stage.name)
            self.tokens_by_source[f"{state.curriculum}/{state.stage_digest}/{self.stage.name}"] = earlier
        if state.stage_digest == self.stage.digest:
            self.loss_first, self.loss_last = state.loss_first, state.loss_last
            self.seconds = state.seconds
            self.skipped = list(state.skipped)
            # What was measured on other text, or in another way, cannot be compared with what comes.
            measure = self.compiled.validation_digest
            self.best = state.best if state.best and state.best.measured_on == measure else None
            self.bits_per_byte = state.bits_per_byte if state.measured_on == measure else {}
        self.spikes = SpikeWindow(list(state.spike_losses), list(state.spike_gradient_norms))
        restore_rng(state.rng)
        differing = (
            "device",
            "precision",
            "threads",
            "micro_batch_sequences",
            "processes",
            "compiled",
            "torch_version",
        )
        return [
            f"{name} was {getattr(state, name)}, is {getattr(here, name)}"
            for name in differing
            if getattr(state, name) != getattr(here, name)
        ]
