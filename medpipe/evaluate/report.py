"""The report of a curriculum as a data set: the matrix checkpoint x domain and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from medpipe.evaluate import BITS_CURVE, CODE_VERSION, HEAT_MAP, LOSS_CURVE
from medpipe.evaluate.curve import read_curve
from medpipe.evaluate.figures import stage_ends
from medpipe.evaluate.heat_map import heat_map
from medpipe.evaluate.matrix import bits_per_byte_matrix
from medpipe.evaluate.measured import MeasuredPoint, comparable_points, measured_points
from medpipe.evaluate.plots import domain_curves, draw_curve
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.curriculum import PinnedStage, pinned_stages
from medpipe.pretrain.result import SPOOL
from medpipe.tokens.snapshot import read_snapshot

ROOM = "evaluation"
NAME = "bits_per_byte"
MATRIX = "matrix.parquet"
PICTURES = (HEAT_MAP, BITS_CURVE, LOSS_CURVE)


@dataclass(frozen=True)
class Report:
    """What a person looks at."""

    matrix: pl.DataFrame
    """A row a measured checkpoint; see `bits_per_byte_matrix`."""
    left_out: list[str]
    """Checkpoints that were measured on other text and are gone, so that they cannot be measured again."""
    pictures: dict[str, bytes]
    """PNG by file name."""


def build_report(
    compiled: CompiledPlan, *, lake: Lake, force: bool = False, say: Callable[[str], None] = lambda _: None
) -> Built:
    """Builds the report of a curriculum as far as it has come, or finds the one that is there.

    All its figures are of one held-out text and one measure: checkpoints that were measured on another one,
    such as those of an earlier run that the plan starts from, are measured again.

    Args:
        compiled: the plan on the snapshot that its curriculum has pinned.
        lake: where runs lie.
        force: build it anew.
        say: takes a line of news at a time.

    Raises:
        MatrixError: nothing was measured yet.
        SpoolError: a spool has a broken line.
        ShardError: a held-out shard is damaged.
    """
    stages = pinned_stages(compiled, lake)
    points = measured_points(stages)
    curve = _curve(stages)
    recipe = Recipe(
        inputs={point.name: point.digest for point in points if point.digest is not None},
        code_version=CODE_VERSION,
        config={
            "measure": compiled.validation_digest,
            "points": digest_value([_facts(point) for point in points]),
            "logged": [curve.height, curve["tokens"].max()],
        },
    )
    if not force and (found := find_reusable(lake, ROOM, NAME, recipe=recipe)):
        return Built(found, reused=True)

    def measure(checkpoint: Path) -> tuple[Mapping[str, float], str]:
        from medpipe.pretrain.held_out import measure_checkpoint

        say(f"measuring {checkpoint} on this plan's held-out text")
        bits = measure_checkpoint(
            checkpoint, compiled=compiled, lake=lake, snapshot=read_snapshot(lake, compiled.snapshot)
        )
        return bits.as_detailed_metrics(), compiled.validation_digest

    kept, left_out = comparable_points(points, compiled.validation_digest, measure)
    matrix = bits_per_byte_matrix(kept, lake.root)
    with publish(lake, ROOM, NAME, recipe=recipe) as draft:
        matrix.write_parquet(draft.path / MATRIX)
        (draft.path / HEAT_MAP).write_bytes(heat_map(matrix))
        (draft.path / BITS_CURVE).write_bytes(domain_curves(matrix, stage_ends(curve)))
        (draft.path / LOSS_CURVE).write_bytes(draw_curve(curve))
        draft.rows = matrix.height
        draft.facts = {"left_out": left_out}
    return Built(draft.dataset, reused=False)


def _facts(point: MeasuredPoint) -> list[object]:
    return [
        point.name,
        point.tokens,
        point.digest,
        point.measured_on,
        {name: repr(value) for name, value in point.bits_per_byte.items()},
    ]


def _curve(stages: Sequence[PinnedStage]) -> pl.DataFrame:
    """What was logged, without what an earlier run trained beyond the point where this one left it."""
    limits = pl.DataFrame(
        {"stage": [stage.name for stage in stages], "last": [stage.last_step for stage in stages]},
        schema={"stage": pl.String, "last": pl.Int64},
    )
    curve = read_curve({stage.name: stage.run_folder / SPOOL for stage in stages})
    joined = curve.join(limits, on="stage", how="left", maintain_order="left")
    return joined.filter(pl.col("step") <= pl.col("last")).drop("last")


def read_report(dataset: Dataset) -> Report:
    """Reads a report back."""
    return Report(
        matrix=pl.read_parquet(dataset.file(MATRIX)),
        left_out=list(dataset.manifest.facts.get("left_out", [])),
        pictures={name: dataset.file(name).read_bytes() for name in PICTURES},
    )
