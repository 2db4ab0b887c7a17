"""Which checkpoint of a curriculum is the best, and whether it may take the place of the registered one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from medpipe.evaluate.matrix import ALL, MatrixError, measures_of


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checkpoint that may be registered."""

    name: str
    stage: str
    step: int
    tokens: int
    digest: str
    path: Path
    """Its folder, from the lake's root."""
    bits_per_byte: Mapping[str, float]
    """`all`, each domain, and `<domain>/<language>`; what is not finite is left out."""
    measured_on: str | None
    """Digest of held-out text and measure, as noted with the figures; None where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The version that bears the alias now."""

    version: str
    digest: str | None
    """Of its checkpoint; None of a version that somebody else registered."""
    bits_per_byte: float | None
    """On the candidate's held-out text; None where it could not be measured on it."""
    floor: float | None = None
    """The fewest bits per byte of it and the versions whose place it took, on the same text; None where
    nothing was noted."""
    how: str
    """How its bits per byte came about, or why there are none."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    passed: bool
    text: str


def best_candidate(matrix: pl.DataFrame) -> Candidate:
    """The checkpoint with the fewest bits per byte over all held-out text of those still on the disk.

    Among equals the later one. A checkpoint that is not finite comes last.

    Args:
        matrix: from `bits_per_byte_matrix`.

    Raises:
        MatrixError: no measured checkpoint is on the disk.
    """
    there = matrix.filter(pl.col("on_disk"))
    if there.is_empty():
        raise MatrixError(
            "no measured checkpoint is on the disk any more; materialise the pretrain assets again"
        )
    row = there.sort(ALL, "step", descending=[False, True], nulls_last=True).row(0, named=True)
    return Candidate(
        name=row["checkpoint"],
        stage=row["stage"],
        step=row["step"],
        tokens=row["tokens"],
        digest=row["digest"],
        path=Path(row["path"]),
        bits_per_byte={name: row[name] for name in measures_of(matrix) if row[name] is not None},
        measured_on=row["measured_on"],
    )


def is_finite(candidate: Candidate) -> Finding:
    """Whether bits per byte over all held-out text are a number, and so those of every measured domain."""
    bits = candidate.bits_per_byte
    passed = ALL in bits and all(math.isfinite(value) for value in bits.values())
    text = f"{bits[ALL]:.4f} bits per byte" if ALL in bits else "bits per byte are not finite"
    return Finding(passed=passed, text=f"{candidate.name}: {text}")


def is_complete(candidate: Candidate, *, domains: Collection[str], damage: str | None) -> Finding:
    """Whether all files have the bytes that were written, and every held-out domain was measured.

    Args:
        candidate: the checkpoint.
        domains: those of the held-out text.
        damage: what is wrong with its files; None where they are whole.
    """
    missing = sorted(set(domains) - set(candidate.bits_per_byte))
    problems = [*([damage] if damage else []), *(f"{domain} is not measured" for domain in missing)]
    return Finding(
        passed=not problems,
        text="; ".join(problems) or f"files are whole, {len(set(domains))} domains are measured",
    )


def is_current(candidate: Candidate, *, held_out: str) -> Finding:
    """Whether it was measured on the held-out text that the plan has now.

    Args:
        candidate: the checkpoint.
        held_out: digest of that text and of the measure.
    """
    passed = candidate.measured_on == held_out
    other = "" if passed else f", the plan's is {held_out}; materialise evaluation/bits_per_byte again"
    return Finding(passed=passed, text=f"measured on held-out text {candidate.measured_on}{other}")


def is_not_worse(candidate: Candidate, incumbent: Incumbent | None, *, tolerance: float) -> Finding:
    """Whether it is at most a little worse than the version that bears the alias, on the same windows.

    On one held-out text the tolerance counts from the best version so far: a row of versions that are each a
    little worse than the one before may not lead further away.

    Args:
        candidate: the checkpoint.
        incumbent: that version; None where there is none.
        tolerance: bits per byte by which it may be worse.
    """
    ours = candidate.bits_per_byte.get(ALL, math.inf)
    if incumbent is None:
        return Finding(passed=True, text="no version bears the alias yet")
    if incumbent.digest == candidate.digest:
        return Finding(passed=True, text=f"version {incumbent.version} is this checkpoint")
    if incumbent.bits_per_byte is None:
        return Finding(
            passed=False,
            text=f"version {incumbent.version} cannot be compared: {incumbent.how}; delete its alias in "
            "MLflow if this checkpoint is to take its place",
        )
    floor = lowest(incumbent.bits_per_byte, incumbent.floor)
    before = f", the best version before it {floor:.4f}" if floor < incumbent.bits_per_byte else ""
    return Finding(
        passed=ours <= floor + tolerance,
        text=f"{ours:.4f} bits per byte, version {incumbent.version} needs {incumbent.bits_per_byte:.4f} "
        f"({incumbent.how}){before}; {tolerance:g} more than {floor:.4f} are allowed",
    )


def lowest(bits: float, floor: float | None) -> float:
    """The lower of bits per byte and a floor, where there is one."""
    return bits if floor is None else min(bits, floor)
