"""The matrix checkpoint x domain of bits per byte."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

CHECKPOINT = "checkpoint"
ALL = "all"


class MatrixError(ValueError):
    """The results make no matrix; the message says what is missing."""


def bits_per_byte_matrix(results: Mapping[str, Mapping[str, float]]) -> pl.DataFrame:
    """Builds the matrix.

    Args:
        results: bits per byte by checkpoint name in stage order, `{name: {"all": …, <domain>: …}}`.

    Returns:
        A row a checkpoint in the order given; columns `checkpoint` (str), `all` and the domains in
        alphabetical order (float, null where a checkpoint was not measured on a domain).

    Raises:
        MatrixError: there is no result.
    """
    if not results:
        raise MatrixError("no stage has a result yet; materialise the pretrain assets first")
    domains = sorted({domain for bits in results.values() for domain in bits} - {ALL})
    columns = [ALL, *domains]
    schema = {CHECKPOINT: pl.String, **dict.fromkeys(columns, pl.Float64)}
    rows = [
        {CHECKPOINT: name, **{column: bits.get(column) for column in columns}}
        for name, bits in results.items()
    ]
    return pl.DataFrame(rows, schema=schema).with_columns(pl.col(columns).fill_nan(None))


def domains_of(matrix: pl.DataFrame) -> list[str]:
    """The measured columns of a matrix, `all` first."""
    return [column for column in matrix.columns if column != CHECKPOINT]
