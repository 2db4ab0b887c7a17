"""A compiled plan as a picture: the learning rate over the tokens, and the mixture of each stage below."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medpipe.pretrain.compile import CompiledPlan, CompiledStage
from medpipe.pretrain.mixture import Component
from medpipe.pretrain.schedule import learning_rate, stage_start, stage_tokens, total_tokens
from medpipe.records.kinds import Domain, Tier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BANDS = ("#F4F4F4", "#E2E2E2")
_RATE = "#B03A00"
_DPI = 130
_POINTS = 600
"""Points drawn a stage."""
_CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Serif CJK SC", "Noto Serif CJK JP"),
    *("Source Han Sans SC", "WenQuanYi Zen Hei"),
    *("SimHei", "Microsoft YaHei", "PingFang SC"),
)
_CHINESE_FILES = ("NotoSansCJK", "NotoSerifCJK", "SourceHanSans", "wqy-", "simhei")
_REGULAR = ("-Regular.ttc", "-Regular.otf", "wqy-zenhei.ttc", "wqy-microhei.ttc", "simhei.ttf")
_LOWEST, _NARROWEST, _LETTER = 0.04, 0.05, 0.0085
"""Shares of the picture: least height and width of a bar that is written on, and a letter's width."""


def draw_plan(compiled: CompiledPlan) -> bytes:
    """Draws a plan.

    Above, the learning rate over the token positions scheduled, each stage a band; stages that an earlier run
    trained are named so. Below, each stage's mixture as shares of its samples, bars as wide as the stages.

    Returns:
        A PNG picture.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, PercentFormatter

    with rc_context({"font.family": ["DejaVu Sans", *_installed_chinese()]}):
        figure = Figure(figsize=(11, 7.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.1, 1.0))
        _draw_rate(above, compiled)
        _draw_mixture(below, compiled)
        for axes in (above, below):
            axes.set_xlim(0, total_tokens(compiled.plan))
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        above.set_title(f"Plan {compiled.plan.name}: {total_tokens(compiled.plan):,} tokens", fontsize=12)
        below.set_xlabel("tokens scheduled")
        below.xaxis.set_major_formatter(EngFormatter(sep=""))
        below.yaxis.set_major_formatter(PercentFormatter(1.0))
        handles, labels = below.get_legend_handles_labels()
        if labels:
            figure.legend(
                handles, labels, loc="outside right center", frameon=False, fontsize=8, title="mixture"
            )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _installed_chinese() -> list[str]:
    """Fonts with Chinese characters that this machine has, the best first."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = set(fontManager.get_font_names())
    if known.isdisjoint(_CHINESE_FONTS):
        # The list of fonts is kept from matplotlib's first start; a font may have come since.
        for path in sorted(findSystemFonts()):
            if Path(path).stem.startswith(_CHINESE_FILES) and path.endswith(_REGULAR):
                fontManager.addfont(path)
        known = set(fontManager.get_font_names())
    return [name for name in _CHINESE_FONTS if name in known]


def _planned(compiled: CompiledPlan) -> list[CompiledStage]:
    """The stages that the plan has a place for: of several with one name the last."""
    return [stage for stage in compiled.stages if not stage.earlier]


def _span(compiled: CompiledPlan, stage: CompiledStage) -> tuple[int, int]:
    """Where a stage of the plan begins and ends on the axis of tokens."""
    begin = stage_start(compiled.plan, stage.name)
    return begin, begin + stage_tokens(compiled.plan, stage.name)


def _draw_rate(axes: Axes, compiled: CompiledPlan) -> None:
    from matplotlib.ticker import ScalarFormatter

    plan = compiled.plan
    for index, stage in enumerate(_planned(compiled)):
        begin, end = _span(compiled, stage)
        axes.axvspan(begin, end, color=_BANDS[index % 2], linewidth=0, zorder=0)
        steps = f"{stage.steps:,} steps" if stage.taken_from is None else "taken over"
        axes.annotate(
            f"{stage.name}\n{steps}",
            xy=((begin + end) / 2, 0.98),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            fontsize=9,
        )
        tokens = np.linspace(begin, end, _POINTS).astype(np.int64)
        axes.plot(
            tokens,
            [learning_rate(int(t), plan) for t in tokens],
            color=_RATE,
            linewidth=1.9,
            linestyle="-" if stage.taken_from is None else ":",
        )
    axes.set_ylim(0, 1.22 * plan.optimizer.peak_learning_rate)
    axes.set_ylabel("learning rate")
    scientific = ScalarFormatter(useMathText=True)
    scientific.set_powerlimits((-2, 3))
    axes.yaxis.set_major_formatter(scientific)
    axes.grid(axis="y", color="white", linewidth=1)
    axes.set_axisbelow(True)


def _draw_mixture(axes: Axes, compiled: CompiledPlan) -> None:
    total = total_tokens(compiled.plan)
    named: set[str] = set()
    for stage in _planned(compiled):
        begin, end = _span(compiled, stage)
        bottom = 0.0
        for part in stage.components:
            axes.bar(
                begin,
                part.share,
                width=end - begin,
                bottom=bottom,
                align="edge",
                color=_colour(part),
                hatch="//" if part.label.startswith("replay") else "",
                edgecolor="white",
                linewidth=0.8,
                label=part.label if part.label not in named else None,
            )
            named.add(part.label)
            if part.share >= _LOWEST and (end - begin) / total >= _NARROWEST:
                middle = ((begin + end) / 2, bottom + part.share / 2)
                _write_share(axes, part, middle, width=(end - begin) / total)
            bottom += part.share
        if not stage.components:
            axes.annotate("taken over", xy=((begin + end) / 2, 0.5), ha="center", va="center", fontsize=9)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of the samples")


def _colour(part: Component) -> tuple[float, float, float]:
    """One hue a domain in every stage; paler where raw text is read, too."""
    from matplotlib import colormaps

    number = list(Domain).index(part.shards[0].domain)
    red, green, blue, _ = colormaps["tab10"](number % 10)
    if all(shard.tier is Tier.REFINED for shard in part.shards):
        return red, green, blue
    return tuple(0.55 * value + 0.45 for value in (red, green, blue))  # type: ignore[return-value]


def _write_share(axes: Axes, part: Component, middle: tuple[float, float], *, width: float) -> None:
    """Percent, and the name where the bar is wide enough for it."""
    fits = len(part.label) * _LETTER < width
    text = f"{part.label} {part.share:.0%}" if fits else f"{part.share:.0%}"
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.2}
    axes.text(*middle, text, ha="center", va="center", fontsize=7.5, color="#222222", bbox=box)
