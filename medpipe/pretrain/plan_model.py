"""The stage plan: one YAML file that is the whole run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from medpipe.pretrain.plan_parts import (
    STAGES,
    MixtureEntry,
    ModelShape,
    OptimizerSettings,
    Positive,
    Precision,
    RateSegment,
    Section,
    Shape,
    StageName,
    StartFrom,
    WholeRunRate,
    is_unset,
    refuse,
)
from medpipe.tokens.config import TokenizerConfig


class PlanError(ValueError):
    """A plan that must not run; `problems` lists every mistake that was found, each with its fix."""

    def __init__(self, origin: str, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{origin}: {count}\n{lines}")


class StagePlan(Section):
    """One stage of the curriculum."""

    name: StageName
    tokens: Positive
    """Token budget; rounded to whole optimizer steps."""
    mixture: Annotated[tuple[MixtureEntry, ...], Field(min_length=1)]
    learning_rate: RateSegment | None = Field(default=None, exclude_if=is_unset)
    """Required, unless the plan has one `learning_rate` for the whole run."""

    @property
    def rate_in_words(self) -> str:
        """Course of the learning rate for a person."""
        rate = self.learning_rate
        if rate is None:
            return "as the whole run's"
        if rate.half_life_tokens is not None:
            return f"{rate.shape}, half after every {rate.half_life_tokens:,} tokens"
        return f"{rate.shape} {'at' if rate.shape is Shape.CONSTANT else 'to'} {rate.to:g} of the peak"


class SampleSettings(Section):
    """The few lines of text that the last stage's model writes."""

    prompts: tuple[str, ...] = ("糖尿病", "高血压的治疗", "The patient")
    tokens: Positive = 48
    """Most new tokens a prompt."""
    top_k: Positive = 20
    """Draw among this many likeliest tokens; 1 is greedy."""


class Strategy(StrEnum):
    """How several processes hold one model."""

    DDP = "ddp"
    """Each holds all of it."""
    FSDP = "fsdp"
    """Weights, gradients and moments are sharded over them (FSDP2)."""
    ZERO1 = "zero1"
    """Moments are sharded over them (DeepSpeed's ZeRO)."""
    ZERO2 = "zero2"
    """Gradients, too."""
    ZERO3 = "zero3"
    """Weights, too."""

    @property
    def is_zero(self) -> bool:
        """Whether DeepSpeed holds the model."""
        return self.value.startswith("zero")


class Devices(Section):
    """The processes of this machine that train together; what they compute is the same up to rounding."""

    processes: Positive = 1
    """One a GPU; on a CPU one is best."""
    strategy: Strategy = Strategy.DDP


class Plan(Section):
    """A whole curriculum."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    """Names the run folder and the experiment."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seeds the initial weights and the data order."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """What is trained where the lake has no such tokenizer yet; the model takes its vocabulary."""
    model: ModelShape | None = Field(default=None, exclude_if=is_unset)
    """Required, unless `start_from` brings the model along; where both stand they must agree."""
    start_from: StartFrom | None = Field(default=None, exclude_if=is_unset)
    """The checkpoint to go on from; fresh weights if unset."""
    optimizer: OptimizerSettings
    learning_rate: WholeRunRate | None = Field(default=None, exclude_if=is_unset)
    """One learning rate for the whole run, instead of one a stage."""
    sequence_length: Positive
    batch_tokens: Positive | None = None
    """Tokens of one optimizer step; a multiple of `sequence_length`."""
    batch_sequences: Positive | None = None
    """Sequences of one optimizer step, instead of `batch_tokens`."""
    micro_batch_sequences: Positive | None = None
    """Sequences of one forward pass; gradients are accumulated. The whole batch if unset."""
    precision: Precision = Precision.AUTO
    devices: Devices = Devices()
    compile_blocks: bool = False
    """Compile each block of the model (needs a C++ compiler); pays from some millions of tokens on."""
    threads: Positive | None = 2
    """CPU threads of the trainer, pinned because results depend on them; all if null."""
    checkpoint_every_steps: Positive = 200
    keep_checkpoints: Positive = 2
    """Newest checkpoints of a stage that stay, beside the best one that was measured."""
    measure_every_steps: Positive | None = None
    """Measure bits per byte and save a checkpoint so often; only at a stage's end if unset."""
    log_every_steps: Positive = 5
    maximum_epochs: Annotated[float, Field(gt=0)] = 4.0
    """Most passes over any shard in the whole curriculum."""
    validation_tokens: Positive | None = None
    """Most tokens a domain that bits per byte are measured on, a token counted as three bytes so that every
    tokenizer is measured on the same text; the whole validation split if unset."""
    sample: SampleSettings = SampleSettings()
    stages: tuple[StagePlan, StagePlan, StagePlan, StagePlan]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse([*self._model_problems(), *self._batch_problems(), *self._stage_problems()])
        return self

    def _model_problems(self) -> list[str]:
        if self.model is None:
            return [] if self.start_from else ["give model, start_from, or both"]
        if self.sequence_length > self.model.max_position:
            return [
                f"sequence_length {self.sequence_length} is longer than model.max_position "
                f"{self.model.max_position}"
            ]
        return []

    def _batch_problems(self) -> list[str]:
        problems = []
        if (self.batch_tokens is None) == (self.batch_sequences is None):
            problems.append("give exactly one of batch_tokens and batch_sequences")
        elif self.batch_tokens is not None and self.batch_tokens % self.sequence_length:
            problems.append(
                f"batch_tokens {self.batch_tokens} is no multiple of sequence_length {self.sequence_length}"
            )
        elif self.micro_batch_sequences and self.sequences_per_step % self.micro_batch_sequences:
            problems.append(
                f"a step of {self.sequences_per_step} sequences does not divide into micro batches "
                f"of {self.micro_batch_sequences} (micro_batch_sequences)"
            )
        if not problems and self.sequences_per_step % self.devices.processes:
            problems.append(
                f"a step of {self.sequences_per_step} sequences does not divide over "
                f"{self.devices.processes} processes (devices.processes)"
            )
        return problems

    def _stage_problems(self) -> list[str]:
        problems = []
        if tuple(stage.name for stage in self.stages) != STAGES:
            problems.append(f"stages must be {', '.join(STAGES)} in this order")
        for position, stage in enumerate(self.stages):
            place = f"stages.{position} ({stage.name})"
            problems += [f"{place}: {problem}" for problem in self._rate_problems(position, stage)]
            problems += [
                f"{place}: replay of {entry.replay}, which is no earlier stage"
                for entry in stage.mixture
                if entry.replay is not None and entry.replay not in STAGES[:position]
            ]
        if self.learning_rate is not None:
            if not self._batch_problems() and self.learning_rate.warmup_tokens >= self._whole_steps_tokens():
                problems.append(
                    f"learning_rate.warmup_tokens {self.learning_rate.warmup_tokens} leaves none of the "
                    f"{self._whole_steps_tokens()} tokens of all stages' whole steps for the cosine"
                )
            if self.start_from is not None and self.start_from.model is None:
                problems.append(
                    "a cosine runs from the first token; with start_from run or checkpoint give each stage "
                    "its learning_rate"
                )
        return problems

    def _whole_steps_tokens(self) -> int:
        return sum(self._steps(stage) for stage in self.stages) * self.tokens_per_step

    def _rate_problems(self, position: int, stage: StagePlan) -> list[str]:
        rate = stage.learning_rate
        if self.learning_rate is not None:
            return [] if rate is None else ["the plan's learning_rate covers all stages; leave this one out"]
        if rate is None:
            return ["learning_rate is missing; give the stage one, or the plan one for the whole run"]
        problems = []
        is_warmup = rate.shape is Shape.WARMUP
        if is_warmup != (position == 0):
            problems.append(
                "only the first stage warms up" if is_warmup else "the first stage needs shape warmup"
            )
        if rate.warmup_tokens > stage.tokens:
            problems.append("warmup_tokens exceeds the stage's tokens")
        return problems

    @property
    def sequences_per_step(self) -> int:
        """Sequences of one optimizer step."""
        if self.batch_sequences is not None:
            return self.batch_sequences
        return (self.batch_tokens or 0) // self.sequence_length

    @property
    def tokens_per_step(self) -> int:
        """Token positions of one optimizer step."""
        return self.sequences_per_step * self.sequence_length

    def stage(self, name: str) -> StagePlan:
        """The stage of this name.

        Raises:
            PlanError: there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PlanError(f"plan {self.name}", [f"no stage '{name}'; the stages are {', '.join(STAGES)}"])

    def stage_steps(self, name: str) -> int:
        """Optimizer steps of a stage: its budget rounded to whole steps, one at least."""
        return self._steps(self.stage(name))

    def _steps(self, stage: StagePlan) -> int:
        return max(1, round(stage.tokens / self.tokens_per_step))
