"""YAML and JSON files with the line of each thing in them, so that a mistake can be named by its place.

Lines of JSON come from the YAML parser too: JSON is YAML once tabs between its tokens are blanked. They
are looked up only when there is a mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

Location = tuple[str | int, ...]
"""Where a value lies in a document: keys and list indices from the top."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The compiled loader where there is one: the catalog is read whenever definitions load."""
_JSON_STRING_OR_TAB = re.compile(r'"(?:[^"\\]|\\.)*"|\t', re.DOTALL)
_LONGEST_KEY = 1000
"""YAML refuses a longer key in one line."""


class SyntaxMistake(ValueError):
    """A file cannot be parsed at all."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class RepeatedKey:
    """A key that stands twice in the same mapping, so that one of its values would be lost."""

    location: Location
    first_line: int
    line: int


@dataclass(frozen=True)
class Document:
    """A parsed file."""

    value: Any
    repeated_keys: tuple[RepeatedKey, ...]
    _compose: Callable[[], yaml.Node | None]

    @cached_property
    def _root(self) -> yaml.Node | None:
        return self._compose()

    def line(self, location: Location) -> int:
        """Line, counted from 1, of the key or list item at a location, or of the nearest thing around it.

        Parts of the location that are not in the file are passed over: a missing field lies at its parent,
        and the tag that a validator puts into the location of a union is no key.
        """
        node = self._root
        line = 1 if node is None else node.start_mark.line + 1
        for part in location:
            if isinstance(node, yaml.MappingNode):
                # From the end: of what stands twice the last one counts, and merged keys stand first.
                for key, value in reversed(node.value):
                    if key.value == str(part):
                        line, node = key.start_mark.line + 1, value
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line


def read_yaml(text: str) -> Document:
    """Parses a YAML file.

    Raises:
        SyntaxMistake: it is no YAML, or uses tags that are not plain data.
    """
    loader = _LOADER(text)
    try:
        root = loader.get_single_node()
        repeated = _repeated_keys(root)  # before merged keys are put into their mappings
        value = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SyntaxMistake(f"no YAML: {error.problem}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        raise SyntaxMistake(f"no YAML: {' '.join(str(error).split())}", None) from None
    finally:
        loader.dispose()
    return Document(value, repeated, lambda: root)


def read_json(text: str) -> Document:
    """Parses a JSON file.

    Raises:
        SyntaxMistake: it is no JSON.
    """
    has_repeats = False

    def as_dict(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal has_repeats
        found = dict(members)
        has_repeats = has_repeats or len(found) < len(members)
        return found

    try:
        value = json.loads(text, object_pairs_hook=as_dict)
    except json.JSONDecodeError as error:
        raise SyntaxMistake(f"no JSON: {error.msg} (column {error.colno})", error.lineno) from None
    except RecursionError:
        raise SyntaxMistake("no JSON that can be read: nested too deeply", None) from None
    repeated = _repeated_keys(_compose_json(text)) if has_repeats else ()
    return Document(value, repeated, lambda: _compose_json(text))


def _compose_json(text: str) -> yaml.Node | None:
    """The nodes of a JSON text; None where even the blanked text is no YAML."""
    try:
        return yaml.compose(_JSON_STRING_OR_TAB.sub(_as_yaml, text), Loader=_LOADER)
    except yaml.YAMLError:
        return None


def _as_yaml(token: re.Match[str]) -> str:
    """A JSON string as YAML takes it: shortened, without what YAML cannot hold; a tab as a blank."""
    if token[0] == "\t":
        return " "
    value = json.loads(token[0], strict=False)[:_LONGEST_KEY]
    # Control characters are escaped by both; YAML refuses lone surrogates and a few others.
    plain = "".join(c if c.isprintable() or c < " " else "?" for c in value)
    return json.dumps(plain, ensure_ascii=False)


def _repeated_keys(root: yaml.Node | None) -> tuple[RepeatedKey, ...]:
    return () if root is None else tuple(_repeated_below(root, (), set()))


def _repeated_below(node: yaml.Node, location: Location, seen_nodes: set[int]) -> Iterator[RepeatedKey]:
    if id(node) in seen_nodes:  # an anchor that is used again
        return
    seen_nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            below = (*location, str(key.value))
            line = key.start_mark.line + 1
            if key.value in first and key.tag != "tag:yaml.org,2002:merge":
                yield RepeatedKey(below, first[key.value], line)
            first.setdefault(key.value, line)
            yield from _repeated_below(value, below, seen_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _repeated_below(value, (*location, number), seen_nodes)
