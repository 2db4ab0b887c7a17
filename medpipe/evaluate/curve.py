"""The loss and learning rate of all stages of a curriculum, from their spools."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from medpipe.tracking.spool import read_events

SCHEMA = {
    "stage": pl.String,
    "step": pl.Int64,
    "tokens": pl.Int64,
    "loss": pl.Float64,
    "learning_rate": pl.Float64,
}


def read_curve(spools: Mapping[str, Path]) -> pl.DataFrame:
    """Reads what the trainer logged.

    Args:
        spools: spool by stage name, in stage order; a stage that has not begun has none.

    Returns:
        A row a logged step: `stage`, `step` and `tokens` (counted over the whole curriculum), `loss` (nats
        a token), `learning_rate`; null where a value was not logged or not finite.

    Raises:
        SpoolError: a spool has a broken line.
    """
    rows = [
        (
            stage,
            event.step,
            event.tokens,
            _finite(event.values.get("train/loss")),
            _finite(event.values.get("train/learning_rate")),
        )
        for stage, path in spools.items()
        for event in read_events(path)
        if "train/loss" in event.values
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
