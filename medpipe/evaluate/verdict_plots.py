"""Pictures of a verdict as PNG bytes: the gains with their intervals, the learning rates of the arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.arms import TRUNK
from medpipe.evaluate.figures import BANDS, BLUE, GREY, ORANGE, png
from medpipe.evaluate.verdict import Answer, Comparison
from medpipe.pretrain.plan import STAGES, Plan, StageName
from medpipe.pretrain.schedule import learning_rate, stage_start, stage_tokens, total_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {Answer.HELPED: BLUE, Answer.NOT: ORANGE, Answer.UNDECIDED: GREY}
_POINTS = 800


def forest_plot(comparisons: Sequence[Comparison]) -> bytes:
    """Draws every gain with its interval, a panel an arm, a row a kind of text.

    The thick line is the interval by itself, the thin one that at which all comparisons hold together. Right
    of zero the curriculum is better. An infinite interval has no line.

    Returns:
        A PNG picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    others = list(dict.fromkeys(each.other for each in comparisons))
    texts = list(dict.fromkeys(each.text for each in comparisons))
    figure = Figure(figsize=(2.0 + 3.3 * max(1, len(others)), 2.0 + 0.42 * len(texts)), layout="constrained")
    panels = figure.subplots(1, max(1, len(others)), sharex=True, sharey=True, squeeze=False)[0]
    for axes, other in zip(panels, others, strict=False):
        _draw_panel(axes, [each for each in comparisons if each.other is other], texts)
        axes.set_title(f"against {other.value}", fontsize=10)
    panels[0].set_yticks(range(len(texts)), texts)
    panels[0].set_ylim(len(texts) - 0.5, -0.5)
    figure.supxlabel("bits per byte that the curriculum needs less (right of zero: it is better)", fontsize=9)
    handles = [
        Line2D([], [], color=colour, marker="o", linewidth=3, label=answer.value)
        for answer, colour in _COLOURS.items()
    ]
    handles.append(Line2D([], [], color="black", linewidth=0.9, label="all together"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9)
    return png(figure)


def _draw_panel(axes: Axes, comparisons: Sequence[Comparison], texts: Sequence[str]) -> None:
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    for each in comparisons:
        row, colour = texts.index(each.text), _COLOURS[each.answer]
        for interval, width in ((each.together, 0.9), (each.gain, 3.0)):
            if math.isfinite(interval.low) and math.isfinite(interval.high):
                axes.plot([interval.low, interval.high], [row, row], color=colour, linewidth=width)
        axes.plot(each.gain.estimate, row, "o", color=colour, markersize=5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)


def rate_lines(
    plans: Mapping[ArmName, Plan], *, begin: int
) -> tuple[list[int], dict[tuple[float, ...], list[ArmName]]]:
    """Learning rate of every arm, from a number of token positions on to the end; equal ones share a line.

    Returns:
        The positions, and by the rates there the arms that have them.
    """
    end = total_tokens(next(iter(plans.values())))
    points = np.linspace(begin, end, _POINTS).astype(int).tolist()
    lines: dict[tuple[float, ...], list[ArmName]] = {}
    for name, plan in plans.items():
        lines.setdefault(tuple(learning_rate(point, plan) for point in points), []).append(name)
    return points, lines


def rate_plot(plans: Mapping[ArmName, Plan], *, first: StageName = STAGES[0]) -> bytes:
    """Draws the learning rate of every arm over the tokens of the run; equal ones share a line.

    Args:
        plans: one plan an arm.
        first: the stage that the picture begins with: where the arms go on from an earlier run, what lies
            before is that run's, not theirs.

    Returns:
        A PNG picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, ScalarFormatter

    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    axes = figure.subplots()
    plan = next(iter(plans.values()))
    for index, stage in enumerate(STAGES[STAGES.index(first) :]):
        begin = stage_start(plan, stage)
        end = begin + stage_tokens(plan, stage)
        axes.axvspan(begin, end, color=BANDS[index % 2], linewidth=0, zorder=0)
        axes.annotate(
            stage, xy=((begin + end) / 2, 0.97), xycoords=("data", "axes fraction"), ha="center", va="top"
        )
    points, lines = rate_lines(plans, begin=stage_start(plan, first))
    for (rates, names), colour, style in zip(
        lines.items(), (BLUE, ORANGE, GREY), ("-", "--", ":"), strict=False
    ):
        axes.plot(
            points,
            rates,
            color=colour,
            linestyle=style,
            linewidth=1.9,
            label=", ".join(name.value for name in names),
        )
    border = stage_start(plan, STAGES[len(TRUNK)])
    axes.axvline(border, color="black", linewidth=0.9, linestyle=":")
    highest = max(max(rates) for rates in lines)
    axes.annotate(
        "stable checkpoint",
        xy=(border, 0.06 * highest),
        xytext=(-6 if points[0] < border else 6, 0),
        textcoords="offset points",
        ha="right" if points[0] < border else "left",
        fontsize=8,
    )
    axes.set_ylim(0, 1.18 * highest)
    axes.set_xlim(points[0], points[-1])
    axes.set_xlabel("token positions")
    axes.set_ylabel("learning rate")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    scientific = ScalarFormatter(useMathText=True)
    scientific.set_powerlimits((-2, 3))
    axes.yaxis.set_major_formatter(scientific)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(lines), frameon=False, fontsize=9)
    return png(figure)
