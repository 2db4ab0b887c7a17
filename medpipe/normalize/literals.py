"""Lists and objects that a table's cell holds as text: `['咳嗽', '发热']`, `["咳嗽"]`, `{'儿童': '5mg'}`."""

from __future__ import annotations

import ast
import re
from itertools import accumulate
from typing import Any

import orjson

CANDIDATE = r"(?s)^\s*(?:\[.*\]|\{.*\})\s*$"
"""What a text must look like before it is worth parsing (a Rust regular expression)."""
_LONGEST = 200_000
"""Characters; a longer text is no list of anything."""
_DEEPEST = 16
"""Brackets within brackets."""
_STRING = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(\s+(?=['"]))?""", re.DOTALL)
"""A quoted string, and the blanks before another one: NumPy writes `['a' 'b']`, one string for Python."""
_BRACKET = re.compile(r"[\[\](){}]")
_NAMES = {"null": None, "nan": None, "NaN": None, "true": True, "false": False}


class _NoLiteralError(Exception):
    """The text is no literal of strings, numbers, lists and objects."""


def literal_value(text: str) -> list[Any] | dict[str, Any] | None:
    """The list or object that a text spells out in JSON, in Python or as NumPy prints it.

    Numbers inside become strings as they are written, so that `0.50` keeps its digits.

    Args:
        text: any text.

    Returns:
        None where the text is anything else, and where it holds numbers alone: `[0.5, 1.0]` may be an
        interval and `[12]` a citation.
    """
    text = text.strip()
    if len(text) > _LONGEST or text[:1] + text[-1:] not in ("[]", "{}") or _depth(text) > _DEEPEST:
        return None
    value: list[Any] | dict[str, Any] | None = _json(text)
    if _holds_no_number(value):
        return value
    try:
        source = _STRING.sub(lambda match: f"{match[1]}, " if match[2] else match[1], text)
        tree = ast.parse(source, mode="eval").body
        value = _value(tree, source) if _says_more_than_numbers(tree) else None
    except (SyntaxError, ValueError, MemoryError, RecursionError, _NoLiteralError):
        return None
    return value


def _depth(text: str) -> int:
    return max(accumulate(1 if bracket in "[{(" else -1 for bracket in _BRACKET.findall(text)), default=0)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _holds_no_number(value: Any) -> bool:
    """Whether parsed JSON is a list or an object in which parsing changed no digits."""
    items = value.values() if type(value) is dict else value
    return type(value) in (list, dict) and all(
        item is None or type(item) in (str, bool) or _holds_no_number(item) for item in items
    )


def _says_more_than_numbers(tree: ast.expr) -> bool:
    numbers = [type(node.value) in (int, float) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return not numbers or not all(numbers)


def _value(node: ast.expr, source: str) -> Any:
    match node:
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, source) for item in items]
        case ast.Dict(keys=keys, values=values):
            members = zip(keys, values, strict=True)
            return {_key(key, source): _value(value, source) for key, value in members}
        case ast.Constant(value=None | bool() as value):
            return value
        case ast.Constant(value=str() as value):
            # JSON writes a character beyond U+FFFF as two escapes, which Python leaves apart.
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case ast.Constant(value=int() | float()) | ast.UnaryOp(operand=ast.Constant(value=int() | float())):
            return ast.get_source_segment(source, node)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
    raise _NoLiteralError


def _key(node: ast.expr | None, source: str) -> str:
    key = None if node is None else _value(node, source)
    if type(key) is not str:
        raise _NoLiteralError
    return key
