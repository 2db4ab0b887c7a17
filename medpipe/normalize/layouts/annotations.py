"""Annotations in the shapes in which they are published: objects, lists, spans of the text, tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from medpipe.catalog.layouts import TaskLayout
from medpipe.normalize.extracted import type_name
from medpipe.normalize.layouts.values import UnexpectedTypeError, list_value

_START, _END = "start_idx", "end_idx"
"""Fields of a span as CBLUE names them; both characters belong to the mention."""
_TAG = re.compile(r"O|([BI])-(\S+)")


def as_annotations(value: Any) -> list[Any]:
    """A list of annotations; a table's cell may hold the list as text.

    Raises:
        UnexpectedTypeError: it is no list.
    """
    items = list_value(value)
    if items is None:
        raise UnexpectedTypeError(f"expected a list of annotations, got {type_name(value)}")
    return items


def members(value: Any, names: Sequence[str], what: str) -> list[Any]:
    """The named members of an annotation that is an object, or its items if it is a list of as many.

    Raises:
        UnexpectedTypeError: it is neither, or lacks a member.
    """
    if type(value) is dict:
        for name in names:
            if name not in value:
                raise UnexpectedTypeError(f"{what} has no field '{name}'")
        return [_plain(value[name]) for name in names]
    if type(value) is list and len(value) == len(names):
        return value
    expected = f"an object or a list of {len(names)}"
    raise UnexpectedTypeError(f"{what}: expected {expected}, got {type_name(value)}")


def _plain(value: Any) -> Any:
    """The value of a member written as `{"@value": …}` with nothing beside it."""
    return value["@value"] if type(value) is dict and list(value) == ["@value"] else value


def entity_pairs(value: Any, text: Any, layout: TaskLayout) -> list[tuple[Any, Any]]:
    """Mention and type of each entity, in their order; the type is None where a mention stands alone.

    Args:
        value: the published annotation: a list of mentions, pairs or objects, an object of mentions by type,
            or BIO tags, in a list or in one string.
        text: what spans and tags count the characters of, as published.
        layout: names the members of an entity.

    Raises:
        UnexpectedTypeError: it is none of these, or does not fit the text.
    """
    if type(value) is dict:
        return [(mention, kind) for kind, mentions in value.items() for mention in as_annotations(mentions)]
    tags = _tags(value)
    if tags is not None:
        return _tagged(tags, _counted(text, "tags"))
    return [_entity(item, text, layout) for item in as_annotations(value)]


def _entity(item: Any, text: Any, layout: TaskLayout) -> tuple[Any, Any]:
    if type(item) is str:
        return item, None
    if type(item) is dict and item.get(layout.entity) is None and _START in item and _END in item:
        start, end, kind = members(item, (_START, _END, layout.entity_type), "an entity")
        return _cut(_counted(text, "a span"), start, end), kind
    mention, kind = members(item, (layout.entity, layout.entity_type), "an entity")
    return mention, kind


def _cut(text: str, start: Any, end: Any) -> str:
    """The characters of a text from start to end, both included."""
    if type(start) is not int or type(end) is not int or not 0 <= start <= end < len(text):
        raise UnexpectedTypeError(f"span {start!r} to {end!r} lies outside the text, 0 to {len(text) - 1}")
    return text[start : end + 1]


def _counted(text: Any, what: str) -> str:
    if type(text) is not str:
        raise UnexpectedTypeError(f"{what} can be read only where one field holds the text as a string")
    return text


def _tags(value: Any) -> list[re.Match[str]] | None:
    """BIO tags; None where the value is anything else."""
    items = list_value(value)
    words = value.split() if items is None and type(value) is str else items
    # A list without any `O` holds mentions (`B-12`), and so does one of a single `O`, a blood group.
    if not words or (items is not None and (len(items) == 1 or "O" not in items)):
        return None
    tags = [_TAG.fullmatch(word) if type(word) is str else None for word in words]
    found = [tag for tag in tags if tag is not None]
    return found if len(found) == len(tags) else None


def _tagged(tags: Sequence[re.Match[str]], text: str) -> list[tuple[str, str]]:
    """The mentions under tags that stand for a character each; an `I` that continues nothing begins one."""
    if len(tags) != len(text):
        raise UnexpectedTypeError(f"there are {len(tags)} tags for the {len(text)} characters of the text")
    pairs: list[tuple[str, str]] = []
    before: str | None = None
    for tag, character in zip(tags, text, strict=True):
        kind = tag[2]
        if kind is not None and tag[1] == "I" and kind == before:
            pairs[-1] = (pairs[-1][0] + character, kind)
        elif kind is not None:
            pairs.append((character, kind))
        before = kind
    return pairs
