"""All rules, in the order in which they judge."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from medpipe.curate.filters import own_rules as own
from medpipe.curate.filters import published_rules as published
from medpipe.curate.filters.rules import Rule

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            *own.ENCODING,
            *own.LANGUAGE,
            *own.LENGTH,
            *own.MEDICAL,
            *published.REPETITION,
            *own.SYMBOLS,
            *published.GOPHER_QUALITY,
            *published.C4_RULES,
            *published.FINEWEB_RULES,
            *own.BAD_WORDS,
            *own.TIER,
        )
    }
)
"""By name. The first that rejects a text is the reason."""
