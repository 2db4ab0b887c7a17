"""What a file that starts with a JSON object is: JSONL, an object of records, or a record by itself."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from medpipe.ingest.json_values import LENIENT, BrokenJsonError, parse_json

_CUT_MARGIN = 16
"""Characters; a complaint so close to the end of the text is about a value that goes on behind it."""
_LINES_LOOKED_AT = 20
_MEMBERS_LOOKED_AT = 100
_MEMBER = re.compile(r'[\s,]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+:\s*+', re.DOTALL)
"""A member's name with its colon, and what stands before it."""


class Shape(Enum):
    """How records lie in a file that starts with `{`."""

    LINES = "lines"
    """An object a line."""
    MEMBERS = "members"
    """One object whose members are the records."""
    ONE_RECORD = "one_record"
    """Objects that span lines, each a record."""


def object_shape(text: str, *, is_whole: bool) -> Shape:
    """Tells the shapes apart by how a file starts.

    An object that ends on its own line starts JSONL; so does a broken one if a line near it is an object.
    Where the first object spans lines, or is all there is, its members are the records if they are objects
    themselves; else it is a record, or the first of several.

    Args:
        text: the start of the file.
        is_whole: whether that is all of it.
    """
    if not text.startswith("{"):
        return Shape.LINES
    try:
        value, end = LENIENT.raw_decode(text)
    except (ValueError, RecursionError) as error:
        is_cut = not is_whole and _is_at_end(error, text)
        if not is_cut and any(is_object(line) for line in text.splitlines()[:_LINES_LOOKED_AT]):
            return Shape.LINES
        return _shape(_members(text), spans_lines="\n" in text.strip(), is_alone=True)
    is_alone = text[end:].strip(", \t\r\n") == ""
    return _shape(list(value.values()), spans_lines="\n" in text[:end], is_alone=is_alone)


def is_object(line: str) -> bool:
    """Whether a line is a JSON object, perhaps with a comma after it."""
    line = line.strip().removesuffix(",")
    if not line.startswith("{"):
        return False
    try:
        parse_json(line)
    except BrokenJsonError:
        return False
    return True


def _shape(members: list[Any], *, spans_lines: bool, is_alone: bool) -> Shape:
    if not spans_lines and not is_alone:
        return Shape.LINES
    if members and all(type(member) is dict for member in members):
        return Shape.MEMBERS
    return Shape.ONE_RECORD if spans_lines else Shape.LINES


def _is_at_end(error: Exception, text: str) -> bool:
    message, place = getattr(error, "msg", ""), getattr(error, "pos", 0)
    return message.startswith("Unterminated string") or place >= len(text) - _CUT_MARGIN


def _members(text: str) -> list[Any]:
    """The values of the first members of an object, as far as they end within the text."""
    found: list[Any] = []
    place = 1
    try:
        while len(found) < _MEMBERS_LOOKED_AT and (match := _MEMBER.match(text, place)) is not None:
            value, place = LENIENT.raw_decode(text, match.end())
            found.append(value)
    except (ValueError, RecursionError):
        return found
    return found
