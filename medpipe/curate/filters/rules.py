"""What a rule is: a measure of a text, and how much of it is too much or too little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from medpipe.records.kinds import Language

GROUPS = MappingProxyType(
    {
        "language": "the script is that of the record's language",
        "encoding": "lost and wrongly decoded characters",
        "length": "too little text, lines and words of odd lengths",
        "repetition": "lines, paragraphs and n-grams that repeat themselves",
        "symbols": "shares of symbols, digits and end marks",
        "gopher_quality": "the quality rules of Gopher",
        "c4": "the rules of C4, as verdicts on whole texts",
        "fineweb": "the rules of FineWeb",
        "medical": "what medical sites and models write around their answers",
        "bad_words": "a list of one's own",
        "tier": "the tier rule of `medpipe.curate.tier`",
    }
)
"""What the rules of each group look for."""


Measure = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
"""No measure is negative; neither is true a number."""


class Limit(BaseModel):
    """How far a measure may go; both unset switch the rule off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: Measure | None = None
    """Beyond this a text is rejected."""
    refine: Measure | None = None
    """Beyond this a text is kept, but its tier is `raw`."""


FEW_UNITS = 50
"""Shares say little about less: Gopher's smallest document has so many words, and in fewer characters a
drug's name, said twice, is a fifth of the text."""
FEW_LINES = 4
"""The same for shares of lines."""

Pair = tuple[float | None, float | None]


def limits(zh: Pair | None, en: Pair | None) -> Mapping[Language, Limit]:
    """Limits from pairs (drop, refine); other languages have those of English."""
    given = {Language.ZH: zh, Language.EN: en, Language.OTHER: en}
    return MappingProxyType(
        {language: Limit(drop=pair[0], refine=pair[1]) for language, pair in given.items() if pair}
    )


def all_languages(drop: float | None, refine: float | None) -> Mapping[Language, Limit]:
    """The same limits for every language."""
    return limits((drop, refine), (drop, refine))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A named, versioned rule. One that changes gets another name."""

    name: str
    """`family_v1/measure`; stands as the reason beside what it rejects."""
    group: str
    measure: str
    """The column of `measure` that it looks at."""
    what: str
    """What is measured, in words."""
    limits: Mapping[Language, Limit]
    """By language; a language without a limit has no such rule."""
    least: bool = False
    """Whether less than the limit breaks it, and not more."""
    inclusive: bool = False
    """Whether the limit itself breaks it."""
    minimum_units: int = 0
    """Texts with fewer units (characters in Chinese, words in English, marks) are not judged."""
    minimum_lines: int = 0
    """Nor texts with fewer lines that are not blank."""
    conversations: bool = True
    """Whether it judges rendered conversations, too."""
    source: str = ""
    """Where it comes from."""

    @property
    def is_share(self) -> bool:
        """Whether the measure lies between 0 and 1."""
        return self.what.startswith("share of ")

    def breaks(self, limit: float) -> pl.Expr:
        """Whether a text's measure is beyond a limit; Boolean."""
        value = pl.col(self.measure)
        if self.least:
            beyond = value <= limit if self.inclusive else value < limit
        else:
            beyond = value >= limit if self.inclusive else value > limit
        if self.minimum_units:
            beyond &= pl.col("units") >= self.minimum_units
        if self.minimum_lines:
            beyond &= pl.col("lines") >= self.minimum_lines
        return beyond if self.conversations else beyond & (pl.col("answers") == 0)
