"""A picture of a snapshot as PNG bytes: how many tokens each source gives each domain."""

from __future__ import annotations

import io
from collections.abc import Mapping

_DPI = 120
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
"""Told apart with the common kinds of colour blindness; the smaller sources share the last."""


def draw_token_shares(tokens: Mapping[tuple[str, str], int]) -> bytes:
    """Draws a bar a domain, the sources as parts of it, and the domain's share of all tokens beside it.

    Args:
        tokens: tokens by domain and source.

    Returns:
        A PNG picture; of empty axes if there are no tokens.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    domains, sources = _totals(tokens, 0), _totals(tokens, 1)
    named = list(sources) if len(sources) <= len(_COLOURS) else list(sources)[: len(_COLOURS) - 1]
    groups = {name: [name] for name in named}
    if len(named) < len(sources):
        groups[f"{len(sources) - len(named)} other sources"] = list(sources)[len(named) :]
    total = sum(domains.values())
    figure = Figure(figsize=(8.5, 1.5 + 0.42 * max(1, len(domains))), layout="constrained")
    axes = figure.subplots()
    left = dict.fromkeys(domains, 0)
    for (label, members), colour in zip(groups.items(), _COLOURS, strict=False):
        widths = [sum(tokens.get((domain, member), 0) for member in members) for domain in domains]
        axes.barh(list(domains), widths, left=list(left.values()), color=colour, label=label)
        left = {domain: before + width for (domain, before), width in zip(left.items(), widths, strict=True)}
    for domain, width in domains.items():
        axes.annotate(
            f" {width / max(total, 1):.1%}",
            xy=(width, domain),
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    axes.set_title(f"{total:,} tokens by domain and source", fontsize=11)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if domains:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _totals(tokens: Mapping[tuple[str, str], int], part: int) -> dict[str, int]:
    """Tokens by domain (part 0) or source (part 1), the largest first."""
    sums: dict[str, int] = {}
    for key, number in tokens.items():
        sums[key[part]] = sums.get(key[part], 0) + number
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))
