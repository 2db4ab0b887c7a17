"""Pictures of the corpus as PNG bytes: what was left out of each source and why, and how long texts are."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import Any

_DPI = 120
_KEPT = "#BBBBBB"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
"""Told apart with the common kinds of colour blindness; rarer reasons share the last."""
_OTHER = "other reasons"


def draw_funnel(by_source: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Draws for each source the shares of its records that were kept and rejected, by reason.

    Args:
        by_source: `records`, `kept` and `rejected_by_reason` of each source.

    Returns:
        A PNG picture; of empty axes if there are no sources.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    names = list(by_source)
    shares = _shares(by_source)
    figure = Figure(figsize=(8.5, 1.9 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(names)
    for (reason, values), colour in zip(shares.items(), (_KEPT, *_COLOURS), strict=False):
        axes.barh(names, values, left=left, color=colour, label=reason)
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.invert_yaxis()
    axes.set_title("What became of the records of each source", fontsize=11)
    axes.tick_params(labelsize=8)
    if names:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def draw_lengths(by_source: Mapping[str, Mapping[str, int]]) -> bytes:
    """Draws how many documents have which length, on a scale of doublings, a colour a source.

    Args:
        by_source: documents of each source by `length_class`; beyond seven sources the smaller ones share a
            colour.

    Returns:
        A PNG picture; of empty axes if there are no documents.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    sizes = {source: sum(counts.values()) for source, counts in by_source.items()}
    ordered = sorted((name for name in sizes if sizes[name]), key=lambda name: (-sizes[name], name))
    named = ordered if len(ordered) <= len(_COLOURS) else ordered[: len(_COLOURS) - 1]
    groups = {name: [name] for name in named}
    if len(named) < len(ordered):
        groups[f"{len(ordered) - len(named)} other sources"] = ordered[len(named) :]
    classes = [int(each) for name in ordered for each in by_source[name]]
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    axes = figure.subplots()
    if classes:
        first, last = min(classes), max(classes)
        edges = [2 ** (each / 2) for each in range(first, last + 2)]
        widths = [after - before for before, after in itertools.pairwise(edges)]
        below = [0] * len(widths)
        for (label, members), colour in zip(groups.items(), _COLOURS, strict=False):
            counts = [
                sum(by_source[member].get(str(each), 0) for member in members)
                for each in range(first, last + 1)
            ]
            axes.bar(edges[:-1], counts, width=widths, bottom=below, align="edge", color=colour, label=label)
            below = [before + count for before, count in zip(below, counts, strict=True)]
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    axes.set_title("How long the documents are", fontsize=11)
    axes.set_xlabel("characters, each bar from one length to 1.4 times of it")
    axes.set_ylabel("documents")
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _shares(by_source: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """Share by reason, a value a source: kept first, then the most frequent reasons."""
    total: dict[str, int] = {}
    for of in by_source.values():
        for reason, rows in of["rejected_by_reason"].items():
            total[reason] = total.get(reason, 0) + rows
    ordered = sorted(total, key=lambda reason: (-total[reason], reason))
    shown = ordered if len(ordered) <= len(_COLOURS) else ordered[: len(_COLOURS) - 1]
    others = [_OTHER] if len(shown) < len(ordered) else []
    shares: dict[str, list[float]] = {name: [] for name in ("kept", *shown, *others)}
    for of in by_source.values():
        rows = max(of["records"], 1)
        reasons = of["rejected_by_reason"]
        shares["kept"].append(of["kept"] / rows)
        for reason in shown:
            shares[reason].append(reasons.get(reason, 0) / rows)
        if _OTHER in shares:
            rest = sum(number for reason, number in reasons.items() if reason not in shown)
            shares[_OTHER].append(rest / rows)
    return shares
