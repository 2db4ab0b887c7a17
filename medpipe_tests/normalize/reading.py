"""Rows through a layout, for tests of the layouts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import polars as pl

from medpipe.catalog.layouts import KINDS, Layout
from medpipe.normalize.extracted import Batch
from medpipe.normalize.layouts import read_layout
from medpipe.records.kinds import Kind, Language, content_columns

Talk = list[tuple[str, str]]


def read(
    layout: Layout, *values: Any, language: Language = Language.ZH, kind: Kind | None = None
) -> tuple[pl.DataFrame, dict[int, str]]:
    """Records and reasons by row; rows are numbered from 100 to tell them from positions."""
    kind = kind or KINDS[type(layout)][0]
    batch = Batch(rows=[100 + i for i in range(len(values))], values=list(values))
    frame = read_layout(batch, layout, language, kind)
    assert {"row", "part"} < set(frame.columns) <= {"row", "part", *content_columns(kind)}
    assert set(frame["row"]) | {r.row for r in batch.rejections.values()} == set(batch.rows)
    assert not set(frame["row"]) & {r.row for r in batch.rejections.values()}
    assert frame["row"].is_sorted()
    for row in frame["row"].unique():
        parts = frame.filter(pl.col("row") == row)["part"].to_list()
        assert parts == list(range(len(parts)))
    rejections = sorted(batch.rejections.values(), key=lambda rejection: rejection.row)
    return frame, {rejection.row: rejection.reason for rejection in rejections}


def talks(frame: pl.DataFrame, column: str = "turns") -> list[Talk]:
    """Turns of each record as pairs of role and content; none is empty and no speaker has two in a row."""
    read = [[(turn["role"], turn["content"]) for turn in talk] for talk in frame[column].to_list()]
    for talk in read:
        assert talk
        assert all(content.strip() == content != "" for _, content in talk)
        assert all(before[0] != after[0] for before, after in pairwise(talk))
    return read


def spoken(*contents: str) -> Talk:
    """A talk in which user and assistant take turns."""
    return [("user" if i % 2 == 0 else "assistant", content) for i, content in enumerate(contents)]
