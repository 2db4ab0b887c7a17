"""Every point at which a curriculum was measured: the stages' ends, and the steps on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.pretrain.curriculum import PinnedStage
from medpipe.pretrain.run_folder import SPOOL
from medpipe.tracking.checkpoints import checkpoint_digest, is_whole
from medpipe.tracking.spool import Event, read_events

METRIC = "eval/bits_per_byte/"


@dataclass(frozen=True, kw_only=True)
class MeasuredPoint:
    """Bits per byte after one step of a curriculum."""

    stage: str
    step: int
    """Optimizer steps since the curriculum began."""
    tokens: int
    """Tokens seen since the curriculum began."""
    is_stage_end: bool
    bits_per_byte: Mapping[str, float]
    """`all`, each domain, and `<domain>/<language>` where a domain has several languages."""
    measured_on: str | None
    """Digest of held-out text and measure; None where it is not known."""
    checkpoint: Path | None
    """Its folder; None where it has been deleted."""

    @property
    def digest(self) -> str | None:
        """Of the checkpoint, while it is there."""
        return None if self.checkpoint is None else checkpoint_digest(self.checkpoint)

    @property
    def name(self) -> str:
        """What people call it: the stage's name at its end, with the step before."""
        return self.stage if self.is_stage_end else f"{self.stage}-{self.step:08d}"


def measured_points(stages: Iterable[PinnedStage]) -> list[MeasuredPoint]:
    """Reads what was measured, in the order of the steps.

    Args:
        stages: of one curriculum, in their order; one that has not begun has no points.

    Raises:
        SpoolError: a spool has a broken line.
    """
    points: list[MeasuredPoint] = []
    for stage in stages:
        points += _of_stage(stage, before=points[-1].tokens if points else 0)
    return points


def _of_stage(stage: PinnedStage, *, before: int) -> list[MeasuredPoint]:
    events: dict[int, Event] = {}
    for event in read_events(stage.run_folder / SPOOL):
        is_measured = event.kind == "checkpoint" and f"{METRIC}all" in event.values
        if is_measured and event.step <= stage.last_step:
            events[event.step] = event  # measured again: the newest counts
    points = {step: _point(stage, event) for step, event in events.items()}
    result = stage.result
    if result is not None:
        step = result.first_step + result.steps
        folder = stage.run_folder / result.checkpoint
        bits = dict(result.bits_per_byte)
        for domain, by_language in result.bits_per_byte_by_language.items():
            if len(by_language) > 1:
                bits |= {f"{domain}/{language}": value for language, value in by_language.items()}
        points[step] = MeasuredPoint(
            stage=stage.name,
            step=step,
            tokens=points[step].tokens if step in points else _tokens_seen(folder, before + result.tokens),
            is_stage_end=True,
            bits_per_byte=bits,
            measured_on=result.validation,
            checkpoint=folder if is_whole(folder) else None,
        )
    return [points[step] for step in sorted(points)]


def _tokens_seen(checkpoint: Path, otherwise: int) -> int:
    """Tokens since the curriculum began, by the checkpoint's manifest, which outlives the spool."""
    try:
        return int(read_manifest(checkpoint).facts["tokens"])
    except (ManifestError, KeyError):
        return otherwise


def _point(stage: PinnedStage, event: Event) -> MeasuredPoint:
    folder = stage.run_folder / (event.path or "")
    return MeasuredPoint(
        stage=stage.name,
        step=event.step,
        tokens=event.tokens,
        is_stage_end=event.name == stage.name,
        bits_per_byte={
            key.removeprefix(METRIC): value for key, value in event.values.items() if key.startswith(METRIC)
        },
        measured_on=event.measured_on,
        checkpoint=folder if is_whole(folder) else None,
    )


def comparable_points(
    points: Iterable[MeasuredPoint],
    measured_on: str,
    measure: Callable[[Path], tuple[Mapping[str, float], str]],
) -> tuple[list[MeasuredPoint], list[str]]:
    """Points that were measured on the same text in the same way.

    Those of other held-out text are measured again from their checkpoints; where a checkpoint is gone, the
    point is left out.

    Args:
        points: of one curriculum.
        measured_on: the digest they are to have.
        measure: gives bits per byte of a checkpoint, and the digest of what it measured on.

    Returns:
        The points, and the names of those that are left out.
    """
    kept, gone = [], []
    for point in points:
        if point.measured_on == measured_on:
            kept.append(point)
        elif point.checkpoint is None:
            gone.append(point.name)
        else:
            bits, digest = measure(point.checkpoint)
            kept.append(replace(point, bits_per_byte=bits, measured_on=digest))
    return kept, gone
