"""Pictures of the corpus as PNG bytes: what was left out of each source, and why."""

from __future__ import annotations

import io
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
