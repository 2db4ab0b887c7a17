"""The matrix checkpoint x domain as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from medpipe.evaluate.figures import GREY, png
from medpipe.evaluate.matrix import CHECKPOINT, measures_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 48
"""Rows drawn; of more, the stages' ends and evenly spaced ones between."""
_FEW_ROWS = 14
"""Up to so many rows a cell also shows the change in words."""
_ON_DISK = "●"


def heat_map(matrix: pl.DataFrame) -> bytes:
    """Draws the matrix checkpoint x domain.

    Each cell shows bits per byte; its colour shows the change against the first checkpoint, so that a
    domain that is hard for every checkpoint does not hide what was learned. Where many checkpoints were
    measured, the cells are smaller and the stages' ends stand out.

    Args:
        matrix: from `bits_per_byte_matrix`.

    Returns:
        A PNG picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    shown = rows_to_draw(matrix)
    columns = measures_of(shown)
    values = shown.select(columns).to_numpy().astype(float)
    change = 100.0 * (values / values[0] - 1.0)
    limit = max([1.0, *np.abs(change[np.isfinite(change)]).tolist()])
    height, width = values.shape
    is_large = height <= _FEW_ROWS
    size = (3.4 + (1.15 if width <= 12 else 0.85) * width, 2.2 + (0.62 if is_large else 0.27) * height)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("#DDDDDD")
    # Blue is lower, thus better; the range is symmetric, so that white means "no change".
    image = axes.imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(width), columns, rotation=30, ha="right", rotation_mode="anchor")
    _label_rows(axes, shown)
    axes.set_title(_title(matrix.height, height), fontsize=11)
    axes.set_xlabel(
        "domain, and language where a domain has several" if _has_languages(columns) else "domain"
    )
    axes.set_ylabel(f"checkpoint ({_ON_DISK} still on the disk)")
    _write_cells(axes, values, change, limit=limit, is_large=is_large)
    axes.set_xticks([x - 0.5 for x in range(1, width)], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, height)], minor=True)
    axes.grid(which="minor", color="white", linewidth=2 if is_large else 0.8)
    axes.tick_params(which="minor", length=0)
    for row in np.flatnonzero(shown["stage_end"].to_numpy())[: None if height > 1 else 0].tolist():
        if not is_large and row < height - 1:
            axes.axhline(row + 0.5, color="black", linewidth=1.2)
    bar = figure.colorbar(image, ax=axes, format=FuncFormatter(lambda value, _: _percent(value, 0)))
    bar.set_label(f"change since {shown[CHECKPOINT][0]}")
    return png(figure)


def rows_to_draw(matrix: pl.DataFrame) -> pl.DataFrame:
    """At most `MOST_ROWS` rows: the first, the stages' ends, and evenly spaced ones of the others."""
    if matrix.height <= MOST_ROWS:
        return matrix
    numbered = matrix.with_row_index("number")
    fixed = numbered.filter(pl.col("stage_end") | (pl.col("number") == 0))["number"].to_list()
    others = [number for number in range(matrix.height) if number not in set(fixed)]
    places = np.linspace(0, len(others) - 1, max(0, MOST_ROWS - len(fixed))).round().astype(int)
    return matrix[sorted({*fixed, *(others[place] for place in places)})]


def _label_rows(axes: Axes, shown: pl.DataFrame) -> None:
    names = [
        f"{_ON_DISK} {name}" if on_disk else name
        for name, on_disk in shown.select(CHECKPOINT, "on_disk").iter_rows()
    ]
    axes.set_yticks(range(len(names)), names)
    for label, is_end in zip(axes.get_yticklabels(), shown["stage_end"], strict=True):
        label.set_fontweight("bold" if is_end else "normal")
        label.set_fontsize(10 if is_end or shown.height <= _FEW_ROWS else 8)


def _title(rows: int, drawn: int) -> str:
    title = "Bits per byte on held-out text (lower is better)"
    return title if drawn == rows else f"{title}: {drawn} of {rows} measured checkpoints"


def _has_languages(columns: list[str]) -> bool:
    return any("/" in column for column in columns)


def _write_cells(
    axes: Axes,
    values: npt.NDArray[np.float64],
    change: npt.NDArray[np.float64],
    *,
    limit: float,
    is_large: bool,
) -> None:
    for (row, column), value in np.ndenumerate(values):
        changed = float(change[row, column])
        text, colour = "–", GREY
        if not np.isnan(value):
            colour = "white" if abs(changed) > 0.6 * limit else "black"
            text = f"{value:.3f}"
            if is_large and row and not np.isnan(changed):
                text = f"{text}\n{_percent(changed, 1)}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9 if is_large else 7.5)


def _percent(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f} %"
    return text[1:] if float(text[:-2]) == 0 else text
