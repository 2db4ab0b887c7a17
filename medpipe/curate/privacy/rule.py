"""What a privacy rule is: an expression, a check, a placeholder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

PERSONAL = "personal"
"""Name of the group of a rule's expression that is replaced; labels around it stay."""


_MARGIN = 32
"""Characters behind the surroundings of an anchor that show where a match ends."""


def accept_all(_: re.Match[str]) -> bool:
    """For rules whose expression says everything."""
    return True


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of personal data, found by an expression and confirmed by a check."""

    key: str
    """Short name; `name` has the version before it."""
    version: int = 1
    """Raised when the rule changes what it finds."""
    description: str
    anchor: str
    """Cheap expression, in Rust's and in Python's syntax, that is found beside each match of `pattern`."""
    reach: tuple[int, int]
    """How far a match, with all that `pattern` looks at, can go beyond its anchor, to both sides."""
    pattern: re.Pattern[str]
    """Has the group `personal`; sees full-width digits and letters as ASCII."""
    accept: Callable[[re.Match[str]], bool] = accept_all
    """Whether a match is what it looks like, by checksum, range or context."""
    chinese: str
    """Placeholder in Chinese texts."""
    english: str
    """Placeholder in all others."""

    @cached_property
    def _anchor(self) -> re.Pattern[str]:
        return re.compile(self.anchor)

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """All that the expression finds and the check accepts; something may be found twice.

        Only the surroundings of anchors are searched: in a long document with one year in it the expression
        itself, which no literal starts, would take a hundred times as long.
        """
        left, right = self.reach
        for anchor in self._anchor.finditer(text):
            start, end = max(0, anchor.start() - left), anchor.end() + right + _MARGIN
            for match in self.pattern.finditer(text, start, end):
                # What may go on beyond the end belongs to a later anchor, whose surroundings show it whole.
                if (match.end() <= end - _MARGIN or end >= len(text)) and self.accept(match):
                    yield match

    @property
    def name(self) -> str:
        """The versioned name, such as `privacy_v1/mobile`."""
        return f"privacy_v{self.version}/{self.key}"


def before(match: re.Match[str], characters: int) -> str:
    """The text in front of what a match would replace."""
    start = match.start(PERSONAL)
    return match.string[max(0, start - characters) : start]


def behind(match: re.Match[str], characters: int) -> str:
    """The text behind what a match would replace."""
    end = match.end(PERSONAL)
    return match.string[end : end + characters]
