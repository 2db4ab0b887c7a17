"""Pictures as PNG bytes: the matrix as a heat map, the loss over tokens.

Drawn without pyplot's global state, so that assets in parallel threads cannot draw into each other's
picture. The colours are told apart with the common kinds of colour blindness.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from medpipe.evaluate.curve import read_curve
from medpipe.evaluate.matrix import CHECKPOINT, domains_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
_BANDS = ("#F2F2F2", "#E0E0E0")
_DPI = 120
_MOST_POINTS = 4000
"""Points drawn of a curve; more would be thinner than a pixel."""
_SMOOTHED_SHARE = 0.02
_HEADROOM = 1.16
_NARROW = 0.1
"""Share of the width below which a stage's name does not fit over its band."""


def heat_map(matrix: pl.DataFrame) -> bytes:
    """Draws the matrix checkpoint x domain.

    Each cell shows bits per byte; its colour shows the change against the first checkpoint, so that a
    domain that is hard for every checkpoint does not hide what was learned.

    Args:
        matrix: from `bits_per_byte_matrix`.

    Returns:
        A PNG picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    domains = domains_of(matrix)
    values = matrix.select(domains).to_numpy().astype(float)
    change = 100.0 * (values / values[0] - 1.0)
    finite = [abs(float(value)) for value in change.ravel() if value == value]
    limit = max([1.0, *finite])

    height, width = values.shape
    figure = Figure(figsize=(2.6 + 1.15 * width, 1.9 + 0.62 * height), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("#DDDDDD")
    # Blue is lower, thus better; the range is symmetric, so that white means "no change".
    image = axes.imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(width), domains, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(height), matrix[CHECKPOINT].to_list())
    axes.set_title("Bits per byte on held-out text (lower is better)", fontsize=11)
    axes.set_xlabel("domain")
    axes.set_ylabel("checkpoint")
    for row in range(height):
        for column in range(width):
            _write_cell(axes, row, column, values[row, column], change[row, column], limit=limit)
    axes.set_xticks([x - 0.5 for x in range(1, width)], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, height)], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(image, ax=axes, format=FuncFormatter(lambda value, _: _percent(value, 0)))
    bar.set_label(f"change since {matrix[CHECKPOINT][0]}")
    return _png(figure)


def _write_cell(axes: Axes, row: int, column: int, value: float, change: float, *, limit: float) -> None:
    if value != value:
        axes.text(column, row, "–", ha="center", va="center", color=GREY)
        return
    colour = "white" if abs(change) > 0.6 * limit else "black"
    text = f"{value:.3f}" if row == 0 or change != change else f"{value:.3f}\n{_percent(change, 1)}"
    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)


def _percent(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f} %"
    return text[1:] if float(text[:-2]) == 0 else text


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
    _shade_stages(axes, curve)
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
    # Room above the lines for the stages' names.
    highest_rate = thinned["learning_rate"].max()
    rate_axes.set_ylim(0, _HEADROOM * highest_rate if isinstance(highest_rate, float) else 1.0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, low + _HEADROOM * (high - low))
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
    return _png(figure)


def _shade_stages(axes: Axes, curve: pl.DataFrame) -> None:
    """A band a stage from the end of the stage before, its name along the top, in two rows by turns."""
    stages = curve.group_by("stage", maintain_order=True).agg(pl.col("tokens").max())
    width = max(1, stages["tokens"].to_list()[-1]) if stages.height else 1
    start = 0
    for index, (name, end) in enumerate(stages.iter_rows()):
        axes.axvspan(start, end, color=_BANDS[index % len(_BANDS)], zorder=0, linewidth=0)
        ends_at_border = end - start < _NARROW * width and index == stages.height - 1
        axes.annotate(
            name,
            xy=(end if ends_at_border else (start + end) / 2, 0.985 - 0.055 * (index % 2)),
            xycoords=("data", "axes fraction"),
            ha="right" if ends_at_border else "center",
            va="top",
            fontsize=9,
            color="#333333",
        )
        start = end
    if start:
        axes.set_xlim(0, start)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
