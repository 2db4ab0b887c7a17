"""Everything a verdict's report says, as plain values: what `--json` prints and `verdict.json` keeps."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.paired import Measured
from medpipe.evaluate.verdict import Comparison, bits_per_byte
from medpipe.evaluate.verdict_words import answer_in_words
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.plan import Plan

START = "stable"
"""Row of the checkpoint that the arms share."""


@dataclass(frozen=True, kw_only=True)
class ArmFacts:
    """One arm with one seed."""

    arm: str
    seed: int
    stages: list[str]
    """The stages that it trained."""
    steps: int
    tokens: int
    """Token positions of these stages."""
    learning_rate: str
    seconds: float
    """Training time, when it was trained."""
    epochs: float
    """Most passes over any source, all four stages together."""
    read: dict[str, float]
    """Share of each domain in what these stages read."""
    loss: float
    """Training loss of the last step, nats a token."""
    checkpoint: str
    """Digest of the final checkpoint."""
    run_folder: str
    """Of the last stage, below the lake."""
    plan: str
    """The derived plan's file, below the lake."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A comparison of arms, ready for a report."""

    plan: str
    snapshot: str
    seeds: int
    start: str
    """Digest of the stable checkpoint that the arms share."""
    parameters: int
    questions: list[dict[str, str]]
    comparisons: list[dict[str, Any]]
    matrix: list[dict[str, Any]]
    """Bits per byte by arm and kind of text, mean and standard deviation over the seeds."""
    arms: list[ArmFacts]
    left_out: dict[str, str]
    raised: dict[str, float]
    """Passes of arms that repeat a source more often than the plan's own cap allows."""
    held_out: dict[str, dict[str, int]]
    """Documents and bytes by domain."""
    bootstrap: dict[str, Any]
    limits: list[str]
    is_published: bool = False
    """Whether the plan begins with a published model."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def rate_in_words(plan: Plan, stages: Sequence[str]) -> str:
    """Course of the learning rate over some stages."""
    rate = plan.learning_rate
    if rate is not None:
        return f"{rate.shape} after {rate.warmup_tokens:,} tokens of warm-up, to {rate.to:g} of the peak"
    return "; ".join(f"{name}: {plan.stage(name).rate_in_words}" for name in stages)


def domain_shares(compiled: CompiledPlan, stages: Sequence[str]) -> dict[str, float]:
    """Share of each domain in the samples of some stages, the largest first."""
    samples: Counter[str] = Counter()
    for name in stages:
        for component in compiled.stage(name).components:
            samples[component.shards[0].domain.value] += component.samples
    return {domain: count / samples.total() for domain, count in samples.most_common()}


def matrix_rows(measured: Measured) -> list[dict[str, Any]]:
    """A row an arm: `arm`, and by kind of text the mean and the standard deviation over its seeds."""
    return [
        {
            "arm": arm,
            **{
                text: {
                    "mean": float(values.mean()),
                    "sd": float(statistics.stdev(values.tolist())) if len(values) > 1 else None,
                }
                for text, values in row.items()
            },
        }
        for arm, row in bits_per_byte(measured).items()
    ]


def comparison_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row a comparison; an interval's end is None where there is no interval."""
    return [
        {
            "against": each.other.value,
            "text": each.text,
            "gain": each.gain.estimate,
            "low": _finite(each.gain.low),
            "high": _finite(each.gain.high),
            "low_together": _finite(each.together.low),
            "high_together": _finite(each.together.high),
            "documents": each.gain.documents,
            "answer": answer_in_words(each),
            "stands_together": each.stands,
        }
        for each in comparisons
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def held_out_sizes(measured: Measured) -> dict[str, dict[str, int]]:
    """Documents and bytes of each domain."""
    sizes: dict[str, dict[str, int]] = {}
    for domain, size in zip(measured.domains, measured.sizes.tolist(), strict=True):
        entry = sizes.setdefault(domain, {"documents": 0, "bytes": 0})
        entry["documents"] += 1
        entry["bytes"] += int(size)
    return sizes


def in_words(reasons: Mapping[ArmName, Any]) -> dict[str, Any]:
    """The same by the arms' plain names."""
    return {name.value: reason for name, reason in reasons.items()}
