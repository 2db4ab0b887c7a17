"""The report of a curriculum as a data set: the matrix checkpoint x domain and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from medpipe.evaluate import CODE_VERSION, HEAT_MAP, LOSS_CURVE
from medpipe.evaluate.matrix import bits_per_byte_matrix
from medpipe.evaluate.plots import heat_map, loss_curve
from medpipe.lake.dataset import Built, Dataset, find_reusable, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe, read_manifest
from medpipe.pretrain.curriculum import FinishedStage
from medpipe.pretrain.result import SPOOL

ROOM = "evaluation"
NAME = "bits_per_byte"
MATRIX = "matrix.parquet"


@dataclass(frozen=True)
class Report:
    """What a person looks at."""

    matrix: pl.DataFrame
    """A row a checkpoint; columns `checkpoint`, `all` and the domains, in bits per byte."""
    pictures: dict[str, bytes]
    """PNG by file name."""


def build_report(stages: Sequence[FinishedStage], *, lake: Lake, force: bool = False) -> Built:
    """Builds the report of the stages' last checkpoints, or finds the one that is there.

    Raises:
        MatrixError: there is no stage.
        ManifestError: a checkpoint is gone.
    """
    recipe = Recipe(
        inputs={stage.result.stage: read_manifest(stage.checkpoint).digest for stage in stages},
        code_version=CODE_VERSION,
        config={stage.result.stage: stage.result.validation for stage in stages},
    )
    if not force and (found := find_reusable(lake, ROOM, NAME, recipe=recipe)):
        return Built(found, reused=True)
    matrix = bits_per_byte_matrix({stage.result.stage: stage.result.bits_per_byte for stage in stages})
    with publish(lake, ROOM, NAME, recipe=recipe) as draft:
        matrix.write_parquet(draft.path / MATRIX)
        (draft.path / HEAT_MAP).write_bytes(heat_map(matrix))
        curve = loss_curve({stage.result.stage: stage.run_folder / SPOOL for stage in stages})
        (draft.path / LOSS_CURVE).write_bytes(curve)
        draft.rows = matrix.height
    return Built(draft.dataset, reused=False)


def read_report(dataset: Dataset) -> Report:
    """Reads a report back."""
    return Report(
        matrix=pl.read_parquet(dataset.path / MATRIX),
        pictures={name: (dataset.path / name).read_bytes() for name in (HEAT_MAP, LOSS_CURVE)},
    )
