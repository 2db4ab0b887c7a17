"""Documents about the same thing: one disease in two bases, one guideline in two editions."""

from __future__ import annotations

import polars as pl

from medpipe.records.kinds import Domain

_NAMED = r"^(?:名称|Name)[：:]\s*([^\s。；;，,][^。\n；;]{0,59})"
"""The first clause of a multi-field record."""
_TITLE = r"^\s*([^\n]{4,80})\n"


def family(text: pl.Expr, domain: pl.Expr) -> pl.Expr:
    """What a document is about, so that its relatives stand on the same side of the hold-out.

    A multi-field record is about what it names; a guideline about its first line, without case, spaces,
    digits and punctuation, so that the edition makes no difference.

    Returns:
        String; null where a text does not say.
    """
    named = text.str.extract(_NAMED).str.strip_chars().str.to_lowercase()
    title = text.str.extract(_TITLE).str.to_lowercase().str.replace_all(r"[^\p{L}]+", "")
    is_guideline = domain.cast(pl.String) == Domain.GUIDELINE.value
    return (
        pl.when(named.is_not_null())
        .then(pl.lit("name:") + named)
        .when(is_guideline & (title.str.len_chars() >= 4))
        .then(pl.lit("title:") + title)
    )
