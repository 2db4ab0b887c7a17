"""Settings of the filters."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from medpipe.curate.filters.registry import RULES
from medpipe.curate.filters.rules import GROUPS, Limit
from medpipe.records.kinds import Language


class Effect(StrEnum):
    """What may come of a text that breaks a rule."""

    DROP = "drop"
    """It is rejected beyond the rule's limit to drop, and `raw` beyond the limit to refine."""
    TIER = "tier"
    """It is never rejected; beyond either limit its tier is `raw`."""
    OFF = "off"
    """Nothing."""


def _groups() -> dict[Language, frozenset[str]]:
    return {language: frozenset(GROUPS) - {"bad_words"} for language in Language}


class FilterConfig(BaseModel):
    """What a person can set about the filters; every field changes the corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: Mapping[Language, frozenset[str]] = Field(default_factory=_groups)
    """Which groups of rules are on, by language; a language that is left out has no rules at all."""
    effects: Mapping[str, Effect] = Field(default_factory=dict)
    """What single rules may do, by rule; each may drop where its limits say so unless it is named here."""
    limits: Mapping[str, Mapping[Language, Limit]] = Field(default_factory=dict)
    """Other limits than the rule's own, by rule and language; an unset one switches that verdict off."""
    bad_words: tuple[str, ...] = ()
    """Words of which none may stand in a text while the group `bad_words` is on. No list comes with medpipe:
    the usual ones name parts of the body."""

    @field_validator("bad_words")
    @classmethod
    def _check_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if not all(word.strip() for word in words):
            raise ValueError("a word is blank, and would stand in every text; take it out")
        return words

    @field_serializer("groups", when_used="json")
    def _in_order(self, groups: Mapping[Language, frozenset[str]]) -> dict[str, list[str]]:
        """As a set has another order in each process, and recipes are compared by digest."""
        return {language.value: sorted(groups[language]) for language in Language if language in groups}

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for field, names, known in (
            ("groups", {name for groups in self.groups.values() for name in groups}, set(GROUPS)),
            ("effects", set(self.effects), set(RULES)),
            ("limits", set(self.limits), set(RULES)),
        ):
            if unknown := sorted(names - known):
                raise ValueError(
                    f"{field}: there is no {', '.join(unknown)}; known are {', '.join(sorted(known))}"
                )
        if not self.bad_words and any("bad_words" in groups for groups in self.groups.values()):
            raise ValueError(
                "groups: 'bad_words' is on but the list bad_words is empty; give words or leave it out"
            )
        return self


def filters_of(rules: Mapping[str, Any], *, bad_words: Sequence[str] = ()) -> FilterConfig:
    """The filters with what a person changes of them.

    Args:
        rules: by name of a rule or a group of rules: `off`, also as false; for a rule also `tier` (it rejects
            nothing) or `drop`, a number (another limit to drop, in all its languages), or by language a
            number, `off`, or `drop` and `refine` with one of these. What is not named stays.
        bad_words: switches the group `bad_words` on.

    Raises:
        ValueError: there is no such rule, group or language, or the value is none of these.
    """
    if isinstance(bad_words, str) or not all(isinstance(word, str) and word.strip() for word in bad_words):
        raise ValueError(
            f"bad_words is {bad_words!r}: give a list of words, none of them blank, as a blank stands in "
            "every text"
        )
    groups = {
        language: (names | {"bad_words"}) if bad_words else names for language, names in _groups().items()
    }
    effects: dict[str, Effect] = {}
    limits: dict[str, dict[Language, Limit]] = {}
    for name, value in rules.items():
        if name in GROUPS:
            if _effect(value) is not Effect.OFF:
                raise ValueError(f"filters: the group '{name}' can only be off, not {value!r}")
            groups = {language: names - {name} for language, names in groups.items()}
        elif name not in RULES:
            raise ValueError(_no_such_rule(name))
        elif (effect := _effect(value)) is not None:
            effects[name] = effect
        else:
            limits[name] = _limits_of(name, value)
    return FilterConfig(groups=groups, effects=effects, limits=limits, bad_words=tuple(bad_words))


def _effect(value: Any) -> Effect | None:
    # YAML reads `off` as false.
    if value is False:
        return Effect.OFF
    return Effect(value) if isinstance(value, str) and value in set(Effect) else None


def _no_such_rule(name: str) -> str:
    near = difflib.get_close_matches(name, [*RULES, *GROUPS], n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return (
        f"filters: there is no rule '{name}'; {meant}Known rules are {', '.join(RULES)}; "
        f"known groups are {', '.join(GROUPS)}"
    )


def _limits_of(name: str, value: Any) -> dict[Language, Limit]:
    rule = RULES[name]
    by_language = value if isinstance(value, Mapping) else dict.fromkeys(rule.limits, value)
    if not by_language:
        raise ValueError(_no_limit(name, value))
    limits = {}
    for language, limit in by_language.items():
        if language not in set(Language):
            raise ValueError(f"filters: {name}: there is no language '{language}'; say {', '.join(Language)}")
        if _effect(limit) is Effect.OFF:
            limits[Language(language)] = Limit()
            continue
        given = {
            verdict: None if _effect(number) is Effect.OFF else number
            for verdict, number in (limit if isinstance(limit, Mapping) else {"drop": limit}).items()
            # An empty value must not take a limit away without a word.
            if number is not None
        }
        before = rule.limits.get(Language(language), Limit()).model_dump()
        if not given:
            raise ValueError(_no_limit(name, limit))
        try:
            limits[Language(language)] = Limit.model_validate(before | given)
        except ValidationError:
            raise ValueError(_no_limit(name, limit)) from None
        if rule.is_share and any(number is not None and number > 1 for number in given.values()):
            raise ValueError(f"filters: {name}: {limit!r} is no limit of a share; say 1 at most")
    return limits


def _no_limit(name: str, value: Any) -> str:
    return (
        f"filters: {name}: {value!r} is no limit; say 'off', 'tier', a number from 0 on, or by language a "
        "number, 'off', or 'drop' and 'refine' with numbers"
    )
