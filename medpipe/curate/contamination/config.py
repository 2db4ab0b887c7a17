"""Settings of the search for exam items in training texts."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

RULE = "exam_ngrams_v2"
"""Name of the rule that removes a document; changes with what it finds."""

MOST_CHARACTERS, MOST_WORDS = 200, 100
"""With longer n-grams nothing but whole items of many lines would be found, and as good as none of them."""


class ContaminationConfig(BaseModel):
    """What counts as repeating an exam item; every field changes what is found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    characters: int = Field(default=30, ge=8, le=MOST_CHARACTERS)
    """Length of the n-grams of Chinese items, in characters of the fold (no spaces, no punctuation)."""
    words: int = Field(default=13, ge=3, le=MOST_WORDS)
    """Length of the n-grams of all other items, in words (13: Brown et al. 2020, appendix C)."""
    short_characters: int = Field(default=16, ge=4)
    """A Chinese item shorter than `characters` is looked for as a whole if it has at least so many; shorter
    ones (`高血压的治疗`) are what any text on the subject says, and are not looked for."""
    short_words: int = Field(default=8, ge=2)
    """The same for all other items, in words."""
    most_items: int = Field(default=10, ge=1)
    """An n-gram that stands in more exam items than this is a phrase of the trade ("which of the following
    is the most likely diagnosis") and no sign that a document repeats one of them."""
    answer_share: float = Field(default=0.5, ge=0, le=1)
    """Part of an answer's n-grams that a text must have to repeat it. Answers to patients are full of phrases
    that others write too; questions and options count by one n-gram."""
    most_units: int = Field(default=30_000_000, ge=1)
    """Characters and words of all exam items together: 20 bytes of memory each, 50 while they are indexed."""

    @model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        for short, full in (("short_characters", "characters"), ("short_words", "words")):
            if getattr(self, short) > getattr(self, full):
                raise ValueError(f"'{short}' must not be greater than '{full}'")
        return self
