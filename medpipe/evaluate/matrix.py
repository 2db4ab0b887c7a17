"""The matrix checkpoint x domain of bits per byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from medpipe.evaluate.measured import MeasuredPoint

CHECKPOINT = "checkpoint"
ALL = "all"
FACTS = {
    CHECKPOINT: pl.String,
    "stage": pl.String,
    "step": pl.Int64,
    "tokens": pl.Int64,
    "stage_end": pl.Boolean,
    "on_disk": pl.Boolean,
    "digest": pl.String,
    "path": pl.String,
    "measured_on": pl.String,
}
"""Columns that say which checkpoint a row is of; `step` and `tokens` count from the curriculum's beginning,
`path` from the lake's root; `digest` and `path` are null where it is not on the disk any more.
`measured_on` is the digest of held-out text and measure that the row's figures are of, as noted with them."""


class MatrixError(ValueError):
    """The results make no matrix; the message says what is missing."""


def bits_per_byte_matrix(points: Sequence[MeasuredPoint], root: Path) -> pl.DataFrame:
    """Builds the matrix.

    Args:
        points: measured on the same text, in the order of the steps.
        root: the lake's.

    Returns:
        A row a point in the order given; the columns of `FACTS`, then in bits per byte (float, null where a
        checkpoint was not measured or is not finite) `all`, the domains in alphabetical order, each followed
        by `<domain>/<language>` where it has several languages.

    Raises:
        MatrixError: there is no point.
    """
    if not points:
        raise MatrixError("no stage has a result yet; materialise the pretrain assets first")
    measured = sorted({name for point in points for name in point.bits_per_byte} - {ALL}, key=_by_domain)
    columns = [ALL, *measured]
    schema = {**FACTS, **dict.fromkeys(columns, pl.Float64)}
    rows = [
        {
            CHECKPOINT: point.name,
            "stage": point.stage,
            "step": point.step,
            "tokens": point.tokens,
            "stage_end": point.is_stage_end,
            "on_disk": point.checkpoint is not None,
            "digest": point.digest,
            "path": None if point.checkpoint is None else point.checkpoint.relative_to(root).as_posix(),
            "measured_on": point.measured_on,
            **{column: point.bits_per_byte.get(column) for column in columns},
        }
        for point in points
    ]
    finite = [pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in columns]
    return pl.DataFrame(rows, schema=schema).with_columns(finite)


def _by_domain(column: str) -> tuple[str, str]:
    domain, _, language = column.partition("/")
    return domain, language


def measures_of(matrix: pl.DataFrame) -> list[str]:
    """The measured columns of a matrix, `all` first."""
    return [column for column in matrix.columns if column not in FACTS]


def domains_of(matrix: pl.DataFrame) -> list[str]:
    """The measured columns of a matrix without those of single languages, `all` first."""
    return [column for column in measures_of(matrix) if "/" not in column]


def has_learnt(matrix: pl.DataFrame) -> bool:
    """Whether the last row needs fewer bits per byte over all than the first; both must be numbers."""
    first, last = matrix[ALL][0], matrix[ALL][-1]
    return first is not None and last is not None and last < first
