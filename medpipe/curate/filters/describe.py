"""The rules as a table for people, made from the registry."""

from __future__ import annotations

from collections.abc import Mapping

from medpipe.curate.filters.config import FilterConfig
from medpipe.curate.filters.judge import drop_limits, tier_limits
from medpipe.curate.filters.registry import RULES
from medpipe.curate.filters.rules import Limit, Rule
from medpipe.records.kinds import Language

_HEAD = (
    "| rule | broken by | limit | zh: drop | zh: refine | en: drop | en: refine | from |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def rules_table() -> str:
    """All rules with their limits as a Markdown table, in the order in which they judge."""
    return "\n".join((*_HEAD, *map(_row, RULES.values())))


def configured_limits(rule: Rule, config: FilterConfig) -> Mapping[str, Mapping[str, float]]:
    """What a rule's limits are in a build: `drop` and `refine` by language; nothing where it is off."""
    chosen = {"drop": drop_limits(rule, config), "refine": tier_limits(rule, config)}
    return {
        language.value: found
        for language in Language
        if (found := {verdict: limits[language] for verdict, limits in chosen.items() if language in limits})
    }


def _row(rule: Rule) -> str:
    cells = [f"`{rule.name}`", rule.what + _conditions(rule), _sign(rule)]
    for language in (Language.ZH, Language.EN):
        limit = rule.limits.get(language, Limit())
        cells += ["–" if value is None else f"{value:g}" for value in (limit.drop, limit.refine)]
    return f"| {' | '.join([*cells, rule.source or 'medpipe'])} |"


def _sign(rule: Rule) -> str:
    return ("≤" if rule.inclusive else "<") if rule.least else ("≥" if rule.inclusive else ">")


def _conditions(rule: Rule) -> str:
    conditions = []
    if rule.minimum_units:
        conditions.append(f"{rule.minimum_units} units and more")
    if rule.minimum_lines:
        conditions.append(f"{rule.minimum_lines} lines and more")
    if set(rule.limits) == {Language.OTHER}:
        limit = rule.limits[Language.OTHER]
        conditions.append(f"other languages alone: {limit.drop:g} drops, {limit.refine:g} refines")
    if not rule.conversations:
        conditions.append("not of conversations")
    return f" ({', '.join(conditions)})" if conditions else ""
