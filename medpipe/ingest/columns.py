"""Columns of tables: their names, and cells that hold a list."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import orjson

_STRING = r"""(?:'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")"""
_LIST_OF_STRINGS = re.compile(
    rf"\[\s*+(?:(?:{_STRING}|None)\s*+(?:,\s*+(?:{_STRING}|None)\s*+)*+,?\s*+)?\]", re.DOTALL
)
"""A Python list of strings. Numbers are left out: as text `0.50` keeps its digits."""


def column_names(header: Sequence[str]) -> list[str]:
    """Names that tell the columns of a header row apart.

    Names lose white space at their ends; a blank one is `column_` and its 0-based number, one that occurred
    before gets `_2`, `_3`, ….
    """
    names: list[str] = []
    for number, cell in enumerate(header):
        name = base = cell.strip("\ufeff \t\r\n\u3000") or f"column_{number}"
        copy = 1
        while name in names:
            copy += 1
            name = f"{base}_{copy}"
        names.append(name)
    return names


def cell_value(text: str) -> Any:
    """What a cell of a text table says: null if it is empty, the list if it spells out one of strings."""
    if not text:
        return None
    if text[0] == "[" and text[-1] == "]":
        found = _string_list(text)
        if found is not None:
            return found
    return text


def _string_list(text: str) -> list[str | None] | None:
    """A list of strings and nulls as JSON or Python writes it; None if the text is anything else."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        if _LIST_OF_STRINGS.fullmatch(text) is None:
            return None
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return None
    return value if all(item is None or type(item) is str for item in value) else None
