"""The parts of a stage plan: model, start, optimizer, learning rate, mixture.

A field that came later is left out of every dump while it is unset: a plan that does not use it keeps the
digests of its stages, and with them its run folders.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medpipe.records.kinds import Domain, Tier

StageName = Literal["fast", "stable", "anneal", "converge"]
STAGES: tuple[StageName, ...] = ("fast", "stable", "anneal", "converge")
"""The stages of every curriculum, in order."""

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


_RUN = re.compile(rf"([a-z0-9][a-z0-9_-]*)(?:(?:/(?:{'|'.join(STAGES)}))?/([0-9a-f]{{32}}-[0-9]+))?")


def is_unset(value: object) -> bool:
    """Whether an optional field stays out of a dump."""
    return value is None


class Section(BaseModel):
    """A frozen part of a plan that allows no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def refuse(problems: list[str]) -> None:
    """Raises what a validator found, all of it at once.

    Raises:
        ValueError: there is a problem.
    """
    if problems:
        raise ValueError("; ".join(problems))


class ModelShape(Section):
    """Shape of a decoder-only transformer; the vocabulary comes from the tokenizer."""

    architecture: Literal["llama", "qwen3"] = "llama"
    """`qwen3` differs from `llama` by an RMSNorm of every query and key head."""
    hidden_size: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    """Key-value heads; fewer than `heads` is grouped-query attention."""
    head_dim: Positive | None = Field(default=None, exclude_if=is_unset)
    """Width of a head; `hidden_size / heads` if unset."""
    intermediate_size: Positive
    """Width of the SwiGLU feed-forward layer."""
    tie_embeddings: bool = True
    """One matrix for input embedding and output projection."""
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    max_position: Positive
    """Longest sequence the model is declared for."""

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.head_dim or self.hidden_size // self.heads

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        problems = []
        if self.head_dim is None and self.hidden_size % (2 * self.heads):
            problems.append(
                f"hidden_size {self.hidden_size} is no multiple of 2 × heads ({2 * self.heads}); "
                "rotary positions need an even head width"
            )
        if self.head_dim is not None and self.head_dim % 2:
            problems.append(f"head_dim {self.head_dim} is odd; rotary positions need an even head width")
        if self.heads % self.kv_heads:
            problems.append(f"heads {self.heads} is no multiple of kv_heads {self.kv_heads}")
        refuse(problems)
        return self


class StartFrom(Section):
    """Where a plan gets its first weights from; exactly one of `model`, `run` and `checkpoint`."""

    model: str | None = Field(default=None, min_length=1)
    """A published model to go on from: `owner/name` on the hub, or a folder (absolute, `./…` or `~/…`) with
    config.json, the tokenizer and safetensors. Its optimizer is fresh, so the first stage warms up."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit of a hub model; a branch would move."""
    run: str | None = None
    """A curriculum that ran before, `name` or `name/<folder of a stage>` (`name/<stage>/<folder>`, as
    `medpipe trace` prints runs, is the same): the final checkpoint of its `stage`
    with moments, step and token counts. What a refresh with new data goes on from."""
    stage: StageName = "stable"
    """The stage of `run`."""
    checkpoint: Path | None = None
    """A checkpoint's folder, inside the run folder that wrote it; for one before the end of a stage."""
    at: StageName | None = None
    """First stage of this plan that is trained; those before it are taken over from the earlier run. The one
    behind the checkpoint's stage if unset; with `model` always `fast`."""

    @field_validator("run", mode="after")
    @classmethod
    def _run_in_short(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = _RUN.fullmatch(value)
        if found is None:
            raise ValueError(
                f"'{value}' names no run; write `name` (lower case, as the plan's name) or `name/<folder>`, "
                "a stage's folder below runs/name/ in the lake, 32 hex digits and the seed"
            )
        return "/".join(part for part in found.groups() if part)

    @property
    def is_folder(self) -> bool:
        """Whether `model` is a folder, not a hub id."""
        return self.model is not None and self.model.startswith(("/", "./", "../", "~"))

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        problems = []
        if sum(value is not None for value in (self.model, self.run, self.checkpoint)) != 1:
            problems.append("give exactly one of model, run and checkpoint")
        if self.revision is not None and (self.model is None or self.is_folder):
            problems.append("revision is for a hub model only; what a folder holds is known by its content")
        if self.model is not None and not self.is_folder:
            if self.model.count("/") != 1:
                problems.append(f"model '{self.model}' is neither owner/name nor a folder (./{self.model})")
            elif self.revision is None:
                problems.append("a hub model needs its revision, a commit of 40 hex digits: a branch moves")
        if self.model is not None and self.at not in (None, STAGES[0]):
            problems.append(f"a published model has no moments and starts at {STAGES[0]}; leave `at` out")
        if self.run is not None and self.stage == STAGES[-1] and self.at is None:
            problems.append(f"no stage is behind {self.stage}; start from an earlier one, or set `at`")
        refuse(problems)
        return self


class SpikeRule(Section):
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


def _is_default_rule(value: object) -> bool:
    return value == SpikeRule()


class OptimizerSettings(Section):
    """AdamW."""

    peak_learning_rate: Annotated[float, Field(gt=0)]
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Decoupled decay of matrices; norms and biases are never decayed."""
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest global gradient norm."""
    spikes: SpikeRule | None = Field(default=SpikeRule(), exclude_if=_is_default_rule)
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


class RateSegment(Section):
    """Learning rate of one stage, as fractions of the peak; it starts where the stage before ended."""

    shape: Shape
    to: Fraction = 1.0
    """Fraction of the peak at the stage's end."""
    warmup_tokens: Annotated[int, Field(ge=0)] = 0
    """Length of the warm-up; only with `shape: warmup`."""
    half_life_tokens: Positive | None = Field(default=None, exclude_if=is_unset)
    """Tokens in which an exponential decay halves the rate, instead of `to` (MiniCPM, arXiv 2404.06395)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        problems = []
        if self.shape is not Shape.WARMUP and self.warmup_tokens:
            problems.append(f"warmup_tokens needs shape warmup, not {self.shape}")
        if self.half_life_tokens is not None and self.shape is not Shape.EXPONENTIAL:
            problems.append(f"half_life_tokens needs shape exponential, not {self.shape}")
        if self.half_life_tokens is not None and self.to != 1.0:
            problems.append(
                "give either to or half_life_tokens; with a half-life the end follows from the tokens"
            )
        if self.shape is Shape.EXPONENTIAL and self.to == 0:
            problems.append("an exponential decay never reaches 0; use linear or one_minus_sqrt, or to > 0")
        refuse(problems)
        return self


class WholeRunRate(Section):
    """One learning rate over all four stages instead of their segments; what curricula are compared with."""

    shape: Literal["cosine"]
    """Linear warm-up, then half a cosine from the peak down to `to` (arXiv 1608.03983)."""
    warmup_tokens: Annotated[int, Field(ge=0)] = 0
    to: Fraction = 0.1
    """Fraction of the peak at the end of the last stage."""


class MixtureEntry(Section):
    """A share of a stage's samples, drawn from the training shards that match, or a replay of a stage."""

    domain: Domain | None = None
    source: str | None = None
    """Only this source; every source of the domain if unset."""
    tier: Tier | None = None
    """Only this tier; both if unset."""
    replay: StageName | None = Field(default=None, exclude_if=is_unset)
    """Instead of a domain: what this earlier stage read, in its proportions, as far as no other entry of this
    stage reads it."""
    weight: Annotated[float, Field(gt=0)]
    """Share of the stage's samples, relative to the other entries."""

    @property
    def label(self) -> str:
        """Short name of what is asked for, such as `encyclopedia/huatuo (refined)` or `replay of fast`."""
        if self.domain is None:
            return f"replay of {self.replay}"
        name = self.domain.value if self.source is None else f"{self.domain.value}/{self.source}"
        return name if self.tier is None else f"{name} ({self.tier.value})"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        problems = []
        if (self.domain is None) == (self.replay is None):
            problems.append("give exactly one of domain and replay")
        elif self.replay is not None and (self.source or self.tier):
            problems.append("a replay takes the whole mixture of its stage; leave source and tier out")
        refuse(problems)
        return self
