"""What the pictures share: colours, bands for the stages, PNG bytes.

Drawn without pyplot's global state, so that assets in parallel threads cannot draw into each other's
picture. The colours are told apart with the common kinds of colour blindness.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
LINES = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F3C8D")
"""For lines side by side (Okabe and Ito's, the pale yellow left out)."""
HEADROOM = 1.16
"""Height of the axes over what is drawn: room for the stages' names."""
BANDS = ("#F2F2F2", "#E0E0E0")
_DPI = 120
_NARROW = 0.1
"""Share of the width below which a stage's name does not fit over its band."""


def stage_ends(frame: pl.DataFrame) -> dict[str, int]:
    """Tokens seen at the last row of each stage, in the order of the rows.

    Args:
        frame: columns `stage` and `tokens`.
    """
    return dict(frame.group_by("stage", maintain_order=True).agg(pl.col("tokens").max()).iter_rows())


def shade_stages(axes: Axes, ends: dict[str, int]) -> None:
    """A band a stage from the end of the stage before, its name along the top, in two rows by turns."""
    width = max(1, *ends.values()) if ends else 1
    start = 0
    for index, (name, end) in enumerate(ends.items()):
        axes.axvspan(start, end, color=BANDS[index % len(BANDS)], zorder=0, linewidth=0)
        ends_at_border = end - start < _NARROW * width and index == len(ends) - 1
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


def leave_headroom(axes: Axes) -> None:
    """Moves the upper limit up, so that no line runs behind the stages' names."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, low + HEADROOM * (high - low))


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
