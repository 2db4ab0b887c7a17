"""The verdict: what the curriculum gained over each other arm, and whether that is more than luck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl

from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.paired import LEVEL, Floats, Interval, Measured, PairedBootstrap
from medpipe.records.kinds import Domain

ALL, MEDICAL, GENERAL = "all", "medical", Domain.GENERAL.value
"""Kinds of text beside the single domains: all held-out text, and all of it that is not general."""


class Answer(StrEnum):
    """What an interval says."""

    HELPED = "helped"
    NOT = "did not help"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The curriculum against one arm on one kind of text."""

    other: ArmName
    text: str
    gain: Interval
    """Bits per byte that the curriculum needs less."""
    together: Interval
    """The same at the level that all comparisons of the report need to hold together (Bonferroni)."""
    smallest_gain: float
    """Bits per byte that are worth having, or worth keeping."""

    @property
    def is_forgetting(self) -> bool:
        """Whether the question is what was lost, not what was won: general text against unchanged data."""
        return self.other is ArmName.CONTROL and self.text == GENERAL

    @property
    def threshold(self) -> float:
        """The gain that the answer is about; a loss smaller than what is worth keeping is no forgetting."""
        return -self.smallest_gain if self.is_forgetting else self.smallest_gain

    @property
    def answer(self) -> Answer:
        """What the interval says by itself."""
        return decide(self.gain, self.threshold)

    @property
    def stands(self) -> bool:
        """Whether the answer stands although so many questions were asked."""
        return self.answer is not Answer.UNDECIDED and self.answer is decide(self.together, self.threshold)


def decide(gain: Interval, threshold: float = 0.0) -> Answer:
    """Puts an interval into words.

    Args:
        gain: the interval.
        threshold: bits per byte that divide a yes from a no.

    Returns:
        Yes or no where the whole interval lies on one side of the threshold. With one seed nothing is
        decided: the interval knows nothing of that run's luck.
    """
    if not gain.covers_seeds:
        return Answer.UNDECIDED
    if gain.low > threshold:
        return Answer.HELPED
    return Answer.NOT if gain.high < threshold else Answer.UNDECIDED


def kinds_of_text(domains: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What is asked about and the domains it is made of; `all` is left out where it would be `medical`."""
    held_out = tuple(sorted(set(domains)))
    kinds = {
        ALL: held_out,
        MEDICAL: tuple(name for name in held_out if name != GENERAL),
        **{name: (name,) for name in held_out},
    }
    return {name: of for name, of in kinds.items() if of and not (name == ALL and GENERAL not in of)}


def measured_arms(windows: Mapping[ArmName, list[pl.DataFrame]]) -> Measured:
    """Adds windows up to documents.

    Args:
        windows: of each arm a frame a seed; columns `domain`, `document`, `bytes`, `bits`, a row a window.

    Raises:
        ValueError: the arms were not measured on the same windows.
    """
    key = ["domain", "document"]
    tables = {
        name: [
            frame.group_by(key).agg(pl.col("bytes").sum(), pl.col("bits").sum()).sort(key) for frame in frames
        ]
        for name, frames in windows.items()
    }
    first = next(iter(tables.values()))[0]
    same = first.select(*key, "bytes")
    for name, frames in tables.items():
        if any(not frame.select(*key, "bytes").equals(same) for frame in frames):
            raise ValueError(f"arm {name.value} was not measured on the same held-out text as the others")
    return Measured(
        domains=tuple(first["domain"].to_list()),
        sizes=first["bytes"].cast(pl.Float64).to_numpy(),
        bits={
            name.value: np.stack([frame["bits"].to_numpy() for frame in frames])
            for name, frames in tables.items()
        },
    )


def compare(measured: Measured, bootstrap: PairedBootstrap, *, smallest_gain: float) -> list[Comparison]:
    """Compares the curriculum with every other arm on every kind of text."""
    kinds = kinds_of_text(measured.domains)
    others = [name for name in ArmName if name is not ArmName.CURRICULUM and name.value in measured.bits]
    asked = len(kinds) * len(others)
    levels = (LEVEL, 1 - (1 - LEVEL) / max(1, asked))
    comparisons = []
    for other in others:
        for text, domains in kinds.items():
            gain, together = bootstrap.gain(ArmName.CURRICULUM, other, domains, level=levels)
            comparisons.append(
                Comparison(other=other, text=text, gain=gain, together=together, smallest_gain=smallest_gain)
            )
    return comparisons


def bits_per_byte(measured: Measured) -> dict[str, dict[str, Floats]]:
    """Bits per byte by arm and kind of text, one value a seed."""
    table: dict[str, dict[str, Floats]] = {}
    for arm, bits in measured.bits.items():
        table[arm] = {}
        for text, domains in kinds_of_text(measured.domains).items():
            chosen = np.isin(measured.domains, domains)
            table[arm][text] = bits[:, chosen].sum(axis=1) / measured.sizes[chosen].sum()
    return table
