"""Every mistake of an entry at once, in plain English and with the fix.

A validator stops at the first thing that hides others: a misspelt field also counts as a missing one, and
rules across fields are not looked at while a field is wrong. So what is wrong is mended in a copy - a
misspelt name or word by the nearest allowed one, anything else by a stand-in - and the copy is validated
again, until nothing is left that could hide a mistake.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from medpipe.catalog.model_fields import (
    Spot,
    allowed_values,
    fields_below,
    find_spot,
    nested_models,
    stand_in,
    tag_of,
)
from medpipe.catalog.places import Location
from medpipe.catalog.source import BROKEN_RULES

M = TypeVar("M", bound=BaseModel)

_MOST_PASSES = 20
_SHOWN_NAMES = 12
_TAG_ERRORS = ("union_tag_invalid", "union_tag_not_found")
_WORD_ERRORS = ("enum", "literal_error")
_EXPECTED = {
    "string_type": "a text: put it in quotes",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
    "dict_type": "a mapping of fields",
    "list_type": "a list",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
}
_SHAPES = {
    "id": "use lower-case letters, digits and '_'",
    "repository": "give 'owner/name'",
    "page": "give an address that starts with https://",
    "revision": "give a branch, a tag or a commit",
    "sha1": "give 40 hexadecimal digits",
    "file_sha1": "give 40 hexadecimal digits",
}
"""What a field that must match a pattern should look like."""


@dataclass(frozen=True)
class Finding:
    """One mistake within an entry."""

    location: Location
    """Where it is, from the entry's top, by the names that are written there."""
    message: str


def find_mistakes(
    model: type[M],
    value: Any,
    *,
    related: Set[str] = frozenset(),
    rules: Callable[[M], Iterable[Finding]] = lambda valid: (),
) -> list[Finding]:
    """Every mistake of a value; none if it is right.

    Args:
        model: what the value should be.
        value: plain values as parsed from a file; it is not changed.
        related: fields that the model's own rules across fields look at; a wrong one without a near word
            has no stand-in, because those rules would then complain about the stand-in.
        rules: further rules for a value that validates.
    """
    attempt = _Attempt(model, copy.deepcopy(value), related)
    findings: dict[Location, Finding] = {}
    for _ in range(_MOST_PASSES):
        try:
            valid = model.model_validate(attempt.value)
            unmet = [attempt.as_written_in(finding) for finding in rules(valid)]
            return [*findings.values(), *unmet]
        except ValidationError as error:
            details = _not_implied(error.errors(include_url=False))
        # Names first: what is only misspelt is not missing.
        details = [detail for detail in details if detail["type"] == "extra_forbidden"] or details
        unmet = [attempt.as_written_in(finding) for detail in details for finding in _unmet(detail)]
        if unmet:
            return [*findings.values(), *unmet]
        for detail in details:
            spot = find_spot(model, detail["loc"])
            finding = Finding(spot.location, _message(model, spot, detail))
            # Only the first at a place: what comes later there is said of a stand-in.
            findings.setdefault(spot.location, attempt.as_written_in(finding))
        mended = [attempt.mend(detail) for detail in details]
        if not all(mended):
            break
    return list(findings.values())


class _Attempt:
    """A copy of the value in which mistakes are mended one after the other."""

    def __init__(self, model: type[BaseModel], value: Any, related: Set[str]) -> None:
        self.model = model
        self.value = value
        self.related = related
        self.renamed: dict[Location, str] = {}
        """The name as it is written, by location with the name that was meant."""

    def as_written_in(self, finding: Finding) -> Finding:
        """The finding with the names that stand in the file, where they were mended."""
        location = finding.location
        written = (self.renamed.get(location[: depth + 1], part) for depth, part in enumerate(location))
        return Finding(tuple(written), finding.message)

    def mend(self, detail: ErrorDetails) -> bool:
        """Mends one mistake; False if nothing sensible can stand in."""
        spot = find_spot(self.model, detail["loc"])
        if not spot.location:
            return False
        *above, name = spot.location
        holder = self.value
        for part in above:
            holder = holder[part]
        if detail["type"] == "extra_forbidden":
            near = _nearest(name, spot.holder.model_fields if spot.holder else ())
            given = holder.pop(name)
            if near is not None and near not in holder:
                holder[near] = given
                self.renamed[(*above, near)] = str(name)
            return True
        if (near := _nearest_word(spot, detail)) is not None:
            holder[name] = {**detail["input"], "layout": near} if detail["type"] in _TAG_ERRORS else near
            return True
        is_whole = not above or (len(above) == 1 and isinstance(name, int))  # the field, or one of its list
        if is_whole and spot.location[0] in self.related:
            return False
        is_optional = spot.field is not None and not spot.field.is_required() and isinstance(name, str)
        if is_optional and detail["type"] != "string_type":  # a text that is there stays there
            del holder[name]
            return True
        substitute = stand_in(spot.field)
        if substitute is not None:
            holder[name] = substitute
        return substitute is not None


def _not_implied(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without lists that count as too short only because their items are wrong."""
    locations = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(other[: len(detail["loc"])] == detail["loc"] != other for other in locations)
    ]


def _unmet(detail: ErrorDetails) -> Iterator[Finding]:
    """The rules across fields that a validator found broken, which it looks at when all fields are right."""
    if detail["type"] == BROKEN_RULES:
        yield from (Finding(location, message) for location, message in detail["ctx"]["broken"])


def _message(model: type[BaseModel], spot: Spot, detail: ErrorDetails) -> str:
    place = ".".join(str(part) for part in spot.location)
    kind, given = detail["type"], _short(detail["input"])
    if kind == "extra_forbidden":
        return f"unknown field '{place}'; {_meant(model, spot)}"
    if kind == "missing":
        return f"field '{place}' is missing; add it"
    if kind in _TAG_ERRORS or kind in _WORD_ERRORS:
        near = _nearest_word(spot, detail)
        hint = f"did you mean '{near}'?" if near else f"use one of {', '.join(_words(spot, detail))}"
        if kind == "union_tag_not_found":
            return f"{place}: say which 'layout' it is; {hint}"
        return f"{place}: {_short(_asked(detail))} is not known; {hint}"
    if kind == "string_pattern_mismatch" and spot.location[-1] in _SHAPES:
        return f"{place}: {given} is not allowed; {_SHAPES[str(spot.location[-1])]}"
    if kind in _EXPECTED:
        return f"{place or 'the entry'}: {given} is not {_EXPECTED[kind]}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _meant(model: type[BaseModel], spot: Spot) -> str:
    """What an unknown field should be."""
    name = str(spot.location[-1])
    here = sorted(spot.holder.model_fields) if spot.holder else []
    if near := _nearest(name, here):
        return f"did you mean '{near}'?"
    above = ".".join(str(part) for part in spot.location[:-1] if isinstance(part, str))
    places = [place for place, field in fields_below(model) if field == name and place != above]
    if places:
        return f"it belongs into '{places[0]}'"
    return f"allowed are {', '.join(here)}" if 0 < len(here) <= _SHOWN_NAMES else "remove it"


def _asked(detail: ErrorDetails) -> Any:
    return detail.get("ctx", {}).get("tag") if detail["type"] in _TAG_ERRORS else detail["input"]


def _words(spot: Spot, detail: ErrorDetails) -> list[str]:
    """The words that are allowed where another one stands."""
    annotation = spot.field.annotation if spot.field else None
    if detail["type"] in _TAG_ERRORS:
        return [tag for choice in nested_models(annotation) if (tag := tag_of(choice))]
    return allowed_values(annotation) if detail["type"] in _WORD_ERRORS else []


def _nearest_word(spot: Spot, detail: ErrorDetails) -> str | None:
    asked = _asked(detail)
    return _nearest(asked, _words(spot, detail)) if isinstance(asked, str) else None


def _nearest(name: Any, allowed: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(str(name).lower(), list(allowed), n=1)), None)


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}..."
