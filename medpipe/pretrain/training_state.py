"""Where training stands between two optimizer steps, besides weights and moments."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class BestCheckpoint(BaseModel):
    """The checkpoint of a stage with the fewest bits per byte so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    bits_per_byte: float
    """Over all held-out text."""
    measured_on: str | None = None
    """Digest of the held-out text and its measure."""


class TrainingState(BaseModel):
    """Where training stands between two optimizer steps, besides weights and moments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    curriculum: str
    seed: int
    stage: str
    stage_digest: str
    step: int
    """Optimizer steps since the curriculum began."""
    cursor: int
    """Next sample index of this stage's stream."""
    tokens: int
    """Target tokens trained on since the curriculum began."""
    tokens_by_source: dict[str, dict[str, int]]
    """Target tokens by stage and source."""
    loss_first: float | None
    """Loss of the stage's first step."""
    loss_last: float | None
    """Loss of the newest step."""
    seconds: float
    """Time this stage has trained for."""
    spike_losses: tuple[float, ...] = ()
    """Losses of the newest steps, which the next one is compared with."""
    spike_gradient_norms: tuple[float, ...] = ()
    skipped: tuple[int, ...] = ()
    """Global steps of this stage, counted from 1, whose update was left out."""
    best: BestCheckpoint | None = None
    """Where the stage is measured on its way."""
    bits_per_byte: dict[str, float] = {}
    """`all` and by domain, where it was measured at this very step."""
    measured_on: str | None = None
    """Digest of the held-out text and its measure, where it was measured."""
    rng: dict[str, Any]
    tokenizer: str
    """Digest of the tokenizer."""
    shards: tuple[str, ...]
    """The stage's shards, by `domain/source/digest/name`."""
    device: str
    precision: str
    threads: int
    micro_batch_sequences: int
    processes: int = 1
    compiled: bool = False
    """Whether the blocks were compiled."""
    torch_version: str
