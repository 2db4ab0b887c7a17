"""What two sources share: a table and a heat map."""

from __future__ import annotations

import io
from collections.abc import Mapping

import polars as pl

_DPI = 120
OVERLAP = pl.Schema({"source": pl.String, "other": pl.String, "groups": pl.Int64, "documents": pl.Int64})
"""Columns of a stored overlap."""
EXACT, NEAR = "exact", "near"
"""Kinds of overlap: equal content, and near-duplicates of other content."""
_MOST_NUMBERED = 30
"""With more sources the cells are too small for numbers."""


def count_overlap(members: pl.DataFrame) -> pl.DataFrame:
    """Counts what each source shares with each.

    Args:
        members: one row a document; columns `source` (Enum) and `group`: near-duplicate cluster, content
            key, or whatever else makes documents one; null where a document is in no group.

    Returns:
        A row for each ordered pair of sources that share a group, in the sources' order: `source`, `other`,
        `groups` (shared by both), `documents` (of `source` that have a counterpart in `other`). For a source
        and itself, groups and documents with two members and more in it.
    """
    counts = members.lazy().drop_nulls("group").group_by("group", "source").len("documents")
    return (
        counts.join(counts.select("group", other="source", others="documents"), on="group")
        .filter((pl.col("source") != pl.col("other")) | (pl.col("documents") > 1))
        .group_by("source", "other")
        .agg(groups=pl.len().cast(pl.Int64), documents=pl.col("documents").sum().cast(pl.Int64))
        .sort("source", "other")
        .collect()
    )


def count_kinds(members: pl.DataFrame) -> pl.DataFrame:
    """Counts what each source shares with each by equal content, and what more by near-duplicates.

    Args:
        members: one row a document; columns `source` (Enum), `content` (what equal documents have in common)
            and `cluster` of near-duplicates, null where a document is in none.

    Returns:
        The columns of `count_overlap` and `kind`. Of `exact` the groups are contents; of `near` they are
        clusters, and only documents count that have no equal one in `other`, so that a document counts once
        for each pair of sources.
    """
    exact = count_overlap(members.select("source", group="content"))
    counts = members.lazy().group_by("cluster", "content", "source").agg(documents=pl.len())
    contents = counts.group_by("content", "source").agg(equal=pl.col("documents").sum())
    clusters = counts.drop_nulls("cluster").group_by("cluster", "source").agg(every=pl.col("documents").sum())
    near = (
        counts.drop_nulls("cluster")
        .join(clusters.rename({"source": "other"}), on="cluster")
        .join(contents.rename({"source": "other"}), on=["content", "other"], how="left")
        # Of a source and itself each document is its own equal.
        .filter(
            pl.when(pl.col("source") == pl.col("other"))
            .then((pl.col("equal") == 1) & (pl.col("every") > 1))
            .otherwise(pl.col("equal").is_null())
        )
        .group_by("source", "other")
        .agg(
            groups=pl.col("cluster").n_unique().cast(pl.Int64),
            documents=pl.col("documents").sum().cast(pl.Int64),
        )
        .collect()
    )
    kinds = [frame.with_columns(kind=pl.lit(kind)) for frame, kind in ((exact, EXACT), (near, NEAR))]
    return pl.concat(kinds, how="vertical_relaxed").sort("source", "other", "kind")


def overlap_matrix(overlap: pl.DataFrame, totals: Mapping[str, int]) -> pl.DataFrame:
    """The share of each source's documents that have a counterpart in each source.

    Args:
        overlap: from `count_overlap`, or `count_kinds`, whose kinds are taken together.
        totals: documents by source; sets rows, columns and their order.

    Returns:
        Column `source`, and a Float64 column for each source; zero where nothing is shared.
    """
    shared = {
        (source, other): number
        for source, other, number in overlap.group_by("source", "other")
        .agg(pl.col("documents").sum())
        .iter_rows()
    }
    return pl.DataFrame(
        {
            "source": list(totals),
            **{
                other: [shared.get((source, other), 0) / max(total, 1) for source, total in totals.items()]
                for other in totals
            },
        },
        schema={"source": pl.String, **dict.fromkeys(totals, pl.Float64)},
    )


def draw_overlap(matrix: pl.DataFrame) -> bytes:
    """Draws what `overlap_matrix` gave as a heat map.

    Returns:
        A PNG picture; of empty axes if there are no sources.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    names = matrix["source"].to_list()
    size = len(names)
    figure = Figure(figsize=(3.4 + 0.62 * size, 2.2 + 0.42 * size), layout="constrained")
    axes = figure.subplots()
    axes.set_title("Documents that have a duplicate in a source", fontsize=11)
    if names:
        values = matrix.select(names).to_numpy()
        image = axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(size), names, fontsize=8)
        axes.set_xlabel("that have a counterpart in")
        axes.set_ylabel("documents of")
        figure.colorbar(image, ax=axes, format=PercentFormatter(1.0))
        for row in range(size if size <= _MOST_NUMBERED else 0):
            for column in range(size):
                if values[row, column] > 0:
                    axes.text(
                        column,
                        row,
                        _percent(values[row, column]),
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white" if values[row, column] > 0.6 else "black",
                    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "<1 %"
