"""Settings of the filters."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

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
