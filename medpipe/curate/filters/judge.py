"""The verdict on each text of a batch."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from medpipe.curate.filters.config import Effect, FilterConfig
from medpipe.curate.filters.measures import measure
from medpipe.curate.filters.registry import RULES
from medpipe.curate.filters.rules import Limit, Rule
from medpipe.records.kinds import Language

_DIGITS = 4
DEFAULT = FilterConfig()
VERDICT = pl.Schema(
    {"reason": pl.String, "detail": pl.String, "refined": pl.Boolean, "tier_reason": pl.String}
)


def judge(batch: pl.DataFrame, *, config: FilterConfig = DEFAULT) -> pl.DataFrame:
    """Says of each text whether it is kept, and whether it is refined.

    Args:
        batch: with the columns `text` (String; a null is judged as an empty text) and `lang` (`zh`, `en` or
            `other`, as String or Enum).
        config: rules and limits.

    Returns:
        A row a text, in order: `reason` (String, the first rule that rejects it, null where it is kept),
        `detail` (String, what was measured beside the limit), `refined` (Boolean, whether it is kept and
        breaks no rule of the tier), `tier_reason` (String, the first rule that keeps a kept text from it).
    """
    measured = measure(batch, bad_words=config.bad_words).with_columns(
        batch["lang"].cast(pl.String).alias("lang")
    )
    return verdicts(measured, config=config)


def verdicts(measured: pl.DataFrame, *, config: FilterConfig = DEFAULT) -> pl.DataFrame:
    """As `judge`, for texts measured before: limits can change without measuring again.

    Args:
        measured: the columns of `measure`, and `lang` as String.
        config: rules and limits; its `bad_words` were counted when measuring.
    """
    drops = {rule.name: _broken(rule, drop_limits(rule, config)) for rule in RULES.values()}
    raws = {rule.name: _broken(rule, tier_limits(rule, config)) for rule in RULES.values()}
    judged = measured.with_columns(reason=_first(drops), tier_reason=_first(raws))
    found = judged["reason"].drop_nulls().unique().to_list()
    details = [_detail(RULES[name], drop_limits(RULES[name], config)) for name in RULES if name in found]
    is_kept = pl.col("reason").is_null()
    return judged.select(
        pl.col("reason"),
        detail=pl.coalesce(details) if details else pl.lit(None, dtype=pl.String),
        refined=is_kept & pl.col("tier_reason").is_null(),
        tier_reason=pl.when(is_kept).then("tier_reason"),
    ).match_to_schema(VERDICT)


def _limits(rule: Rule, config: FilterConfig) -> Mapping[Language, Limit]:
    """The limits of a rule in the languages where it is on."""
    if config.effects.get(rule.name) is Effect.OFF:
        return {}
    limits = {**rule.limits, **config.limits.get(rule.name, {})}
    return {
        language: limit
        for language, limit in limits.items()
        if rule.group in config.groups.get(language, frozenset())
    }


def drop_limits(rule: Rule, config: FilterConfig) -> Mapping[Language, float]:
    """Beyond what a rule rejects a text, by language; a language that is not there has no such limit."""
    if config.effects.get(rule.name) is Effect.TIER:
        return {}
    limits = _limits(rule, config)
    return {language: limit.drop for language, limit in limits.items() if limit.drop is not None}


def tier_limits(rule: Rule, config: FilterConfig) -> Mapping[Language, float]:
    """Where a text stops to be refined: at the limit to refine, else at the limit to drop."""
    tier_only = config.effects.get(rule.name) is Effect.TIER
    chosen = {
        language: limit.drop if limit.refine is None and tier_only else limit.refine
        for language, limit in _limits(rule, config).items()
    }
    return {language: limit for language, limit in chosen.items() if limit is not None}


def _broken(rule: Rule, limits: Mapping[Language, float]) -> pl.Expr | None:
    """Whether a rule is broken; None where it is broken by no text."""
    languages: dict[float, list[str]] = {}
    for language, limit in limits.items():
        languages.setdefault(limit, []).append(language.value)
    if not languages:
        return None
    return pl.any_horizontal(
        rule.breaks(limit)
        if len(names) == len(Language)
        else pl.col("lang").is_in(names) & rule.breaks(limit)
        for limit, names in languages.items()
    )


def _first(broken: Mapping[str, pl.Expr | None]) -> pl.Expr:
    names = [
        pl.when(is_broken).then(pl.lit(name)) for name, is_broken in broken.items() if is_broken is not None
    ]
    return pl.coalesce(names) if names else pl.lit(None, dtype=pl.String)


def _detail(rule: Rule, limits: Mapping[Language, float]) -> pl.Expr:
    """`measure 0.41 > 0.3` where the rule is the reason; null elsewhere."""
    sign = ("<=" if rule.inclusive else "<") if rule.least else (">=" if rule.inclusive else ">")
    limit = pl.col("lang").replace_strict(
        {language.value: f" {sign} {limit:g}" for language, limit in limits.items()}, default=None
    )
    value = pl.col(rule.measure).round(_DIGITS).cast(pl.String).str.strip_suffix(".0")
    return pl.when(pl.col("reason") == rule.name).then(
        pl.concat_str(pl.lit(f"{rule.measure} "), value, limit)
    )
