"""Lines over the tokens seen, the stages as bands behind them: loss and learning rate, bits per byte."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from medpipe.evaluate.curve import read_curve
from medpipe.evaluate.figures import (
    BLUE,
    HEADROOM,
    LINES,
    ORANGE,
    leave_headroom,
    png,
    shade_stages,
    stage_ends,
)
from medpipe.evaluate.matrix import ALL, domains_of

_MOST_POINTS = 4000
"""Points drawn of a curve; more would be thinner than a pixel."""
_SMOOTHED_SHARE = 0.02
_FEW_POINTS = 40
"""Up to so many measured points each has a mark."""


def loss_curve(spools: Mapping[str, Path]) -> bytes:
    """Draws loss and learning rate over the tokens seen, the stages as bands behind them.

    Args:
        spools: spool by stage name, in stage order; see `read_curve`.

    Returns:
        A PNG picture; of empty axes if nothing was logged yet.

    Raises:
        SpoolError: a spool has a broken line.
    """
    return draw_curve(read_curve(spools))


def draw_curve(curve: pl.DataFrame) -> bytes:
    """Draws what `read_curve` gave; see `loss_curve`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, ScalarFormatter

    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    axes = figure.subplots()
    rate_axes = axes.twinx()
    shade_stages(axes, stage_ends(curve))
    thinned = curve.gather_every(max(1, curve.height // _MOST_POINTS))
    tokens = thinned["tokens"].to_numpy()
    window = max(1, round(_SMOOTHED_SHARE * thinned.height))
    smooth = thinned["loss"].rolling_mean(window, min_samples=1, center=True).to_numpy()
    axes.plot(tokens, thinned["loss"].to_numpy(), color=BLUE, alpha=0.3, linewidth=0.8)
    lines = axes.plot(tokens, smooth, color=BLUE, linewidth=1.8, label="loss (left axis)")
    lines += rate_axes.plot(
        tokens,
        thinned["learning_rate"].to_numpy(),
        color=ORANGE,
        linewidth=1.5,
        linestyle="--",
        label="learning rate (right axis)",
    )
    axes.set_xlabel("tokens seen")
    axes.set_ylabel("training loss (nats per token)", color=BLUE)
    rate_axes.set_ylabel("learning rate", color=ORANGE)
    highest_rate = thinned["learning_rate"].max()
    rate_axes.set_ylim(0, HEADROOM * highest_rate if isinstance(highest_rate, float) else 1.0)
    leave_headroom(axes)
    scientific = ScalarFormatter(useMathText=True)
    scientific.set_powerlimits((-2, 3))
    rate_axes.yaxis.set_major_formatter(scientific)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y", color="white", linewidth=1)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    rate_axes.spines["top"].set_visible(False)
    figure.legend(handles=lines, loc="outside upper center", ncols=2, frameon=False)
    return png(figure)


def domain_curves(matrix: pl.DataFrame, ends: Mapping[str, int]) -> bytes:
    """Draws bits per byte of each domain over the tokens seen, the stages as bands behind them.

    Args:
        matrix: from `bits_per_byte_matrix`.
        ends: tokens seen at each stage's end, in stage order.

    Returns:
        A PNG picture; stages' ends are marked by larger points.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(9.5, 4.8), layout="constrained")
    axes = figure.subplots()
    shade_stages(axes, dict(ends))
    tokens = matrix["tokens"].to_numpy()
    is_end = matrix["stage_end"].to_numpy()
    for index, column in enumerate(domains_of(matrix)):
        colour = "black" if column == ALL else LINES[(index - 1) % len(LINES)]
        style = "-" if index <= len(LINES) else "--"
        values = matrix[column].to_numpy()
        axes.plot(
            tokens,
            values,
            color=colour,
            linestyle=style,
            linewidth=2.4 if column == ALL else 1.4,
            marker="o" if matrix.height <= _FEW_POINTS else None,
            markersize=3,
            label=column,
            zorder=3 if column == ALL else 2,
        )
        axes.plot(tokens[is_end], values[is_end], "o", color=colour, markersize=6, zorder=4)
    axes.set_xlabel("tokens seen")
    axes.set_ylabel("bits per byte on held-out text")
    leave_headroom(axes)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y", color="white", linewidth=1)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return png(figure)
