"""The stage plan: one YAML file that is the whole run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medpipe.records.kinds import Domain, Tier
from medpipe.tokens.config import TokenizerConfig

STAGES = ("fast", "stable", "anneal", "converge")
"""The stages of every curriculum, in order."""

StageName = Literal["fast", "stable", "anneal", "converge"]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class PlanError(ValueError):
    """A plan that must not run; `problems` lists every mistake that was found, each with its fix."""

    def __init__(self, origin: str, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{origin}: {count}\n{lines}")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))


class ModelShape(_Section):
    """Shape of a decoder-only transformer; the vocabulary comes from the tokenizer."""

    architecture: Literal["llama"] = "llama"
    hidden_size: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    """Key-value heads; fewer than `heads` is grouped-query attention."""
    intermediate_size: Positive
    """Width of the SwiGLU feed-forward layer."""
    tie_embeddings: bool = True
    """One matrix for input embedding and output projection."""
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    max_position: Positive
    """Longest sequence the model is declared for."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        problems = []
        if self.hidden_size % (2 * self.heads):
            problems.append(
                f"hidden_size {self.hidden_size} is no multiple of 2 × heads ({2 * self.heads}); "
                "rotary positions need an even head width"
            )
        if self.heads % self.kv_heads:
            problems.append(f"heads {self.heads} is no multiple of kv_heads {self.kv_heads}")
        _refuse(problems)
        return self


class SpikeRule(_Section):
    """When an optimizer step is left out; see `medpipe.pretrain.spike`."""

    window: Annotated[int, Field(ge=2)] = 128
    """Steps that a step is compared with."""
    deviations: Annotated[float, Field(gt=0)] = 6.0
    """Standard deviations above their mean from which on a step is a spike."""
    most_in_a_row: Positive = 16
    """After so many steps left out one after another training stops: something else is wrong."""

    @property
    def least_steps(self) -> int:
        """Steps that must be known before one can be a spike."""
        return max(2, self.window // 2)


class OptimizerSettings(_Section):
    """AdamW."""

    peak_learning_rate: Annotated[float, Field(gt=0)]
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Decoupled decay of matrices; norms and biases are never decayed."""
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest global gradient norm."""
    spikes: SpikeRule | None = SpikeRule()
    """Steps that are left out; none if null."""


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass; weights and moments are always fp32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class Shape(StrEnum):
    """Course of the learning rate over one stage, between the rate before it and `to`."""

    WARMUP = "warmup"
    """Linear from zero over `warmup_tokens`, then constant."""
    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    """Equal factors over equal tokens."""
    ONE_MINUS_SQRT = "one_minus_sqrt"
    """Falls as 1 - sqrt(progress)."""


class RateSegment(_Section):
    """Learning rate of one stage, as fractions of the peak; it starts where the stage before ended."""

    shape: Shape
    to: Fraction = 1.0
    """Fraction of the peak at the stage's end."""
    warmup_tokens: Annotated[int, Field(ge=0)] = 0
    """Length of the warm-up; only with `shape: warmup`."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = []
        if self.shape is not Shape.WARMUP and self.warmup_tokens:
            problems.append(f"warmup_tokens needs shape warmup, not {self.shape}")
        if self.shape is Shape.EXPONENTIAL and self.to == 0:
            problems.append("an exponential decay never reaches 0; use linear or one_minus_sqrt, or to > 0")
        _refuse(problems)
        return self


class MixtureEntry(_Section):
    """A share of a stage's samples, drawn from the training shards that match."""

    domain: Domain
    source: str | None = None
    """Only this source; every source of the domain if unset."""
    tier: Tier | None = None
    """Only this tier; both if unset."""
    weight: Annotated[float, Field(gt=0)]
    """Share of the stage's samples, relative to the other entries."""

    @property
    def label(self) -> str:
        """Short name of what is asked for, such as `encyclopedia/huatuo (refined)`."""
        name = self.domain.value if self.source is None else f"{self.domain.value}/{self.source}"
        return name if self.tier is None else f"{name} ({self.tier.value})"


class StagePlan(_Section):
    """One stage of the curriculum."""

    name: StageName
    tokens: Positive
    """Token budget; rounded to whole optimizer steps."""
    mixture: Annotated[tuple[MixtureEntry, ...], Field(min_length=1)]
    learning_rate: RateSegment


class SampleSettings(_Section):
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


class Devices(_Section):
    """The processes of this machine that train together; what they compute is the same up to rounding."""

    processes: Positive = 1
    """One a GPU; on a CPU one is best."""
    strategy: Strategy = Strategy.DDP


class Plan(_Section):
    """A whole curriculum."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    """Names the run folder and the experiment."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seeds the initial weights and the data order."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """What is trained where the lake has no such tokenizer yet; the model takes its vocabulary."""
    model: ModelShape
    optimizer: OptimizerSettings
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
    """Most tokens a domain that bits per byte are measured on; the whole validation split if unset."""
    sample: SampleSettings = SampleSettings()
    stages: tuple[StagePlan, StagePlan, StagePlan, StagePlan]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _refuse([*self._batch_problems(), *self._stage_problems()])
        return self

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
        if self.sequence_length > self.model.max_position:
            problems.append(
                f"sequence_length {self.sequence_length} is longer than model.max_position "
                f"{self.model.max_position}"
            )
        return problems

    def _stage_problems(self) -> list[str]:
        problems = []
        if tuple(stage.name for stage in self.stages) != STAGES:
            problems.append(f"stages must be {', '.join(STAGES)} in this order")
        for position, stage in enumerate(self.stages):
            is_warmup = stage.learning_rate.shape is Shape.WARMUP
            if is_warmup != (position == 0):
                problems.append(
                    f"stages.{position} ({stage.name}): "
                    + ("only the first stage warms up" if is_warmup else "the first stage needs shape warmup")
                )
            if stage.learning_rate.warmup_tokens > stage.tokens:
                problems.append(f"stages.{position} ({stage.name}): warmup_tokens exceeds the stage's tokens")
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
        return max(1, round(self.stage(name).tokens / self.tokens_per_step))
