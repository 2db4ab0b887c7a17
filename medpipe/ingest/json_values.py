"""Parsing JSON as it is really published."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_SURROGATE_ESCAPE = re.compile(r"\\u[dD]")


class BrokenJsonError(ValueError):
    """A text is no JSON value even where rules are relaxed."""


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


LENIENT = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=lambda name: None)
"""Takes raw control characters in strings; NaN, Infinity and numbers too large for a float are null."""


def parse_json(text: str | bytes) -> Any:
    """Parses one JSON value: fast by the letter of the standard, else by relaxed rules.

    Relaxed: control characters may stand in strings; NaN and Infinity become null; a lone surrogate, which
    no encoding can hold, becomes U+FFFD.

    Raises:
        BrokenJsonError: it is no JSON even so; the message is the strict parser's.
        UnicodeDecodeError: the bytes are not UTF-8.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        complaint = str(error)
    decoded = text.decode() if isinstance(text, bytes) else text
    try:
        value = LENIENT.decode(decoded)
    except (ValueError, RecursionError):
        raise BrokenJsonError(complaint) from None
    return without_lone_surrogates(value) if may_have_surrogates(decoded) else value


def may_have_surrogates(text: str, start: int = 0, end: int | None = None) -> bool:
    """Whether a JSON text has an escape of a surrogate, paired or not."""
    return _SURROGATE_ESCAPE.search(text, start, len(text) if end is None else end) is not None


def without_lone_surrogates(value: Any) -> Any:
    """The same JSON value with U+FFFD for each surrogate that has no partner."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [without_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_lone_surrogates(key): without_lone_surrogates(item) for key, item in value.items()}
    return value
