"""Lines that are Python literals, as somebody's `print` wrote them: single quotes, `True`, `None`, tuples."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpipe.ingest.batches import RAW_CHARACTERS, Record, broken
from medpipe.ingest.encoding import IllegalByteError, decode
from medpipe.ingest.json_values import may_have_surrogates, without_lone_surrogates
from medpipe.ingest.lines import Line, read_lines

MAX_LITERAL_BYTES = 16_000_000
"""A longer line is broken: Python's parser takes about a hundred times a text's size in memory."""

_RAW_BYTES = 4 * RAW_CHARACTERS
_SPLIT_NAME = re.compile(r"[^\W\d]\w*(?:\s*[:=]\s*|\s+|$)(?=$|[\[{(])")
"""The name of a split, alone on its line or before the literal; `True` and the like are values."""
_CONSTANTS = ("True", "False", "None")


class BrokenLiteralError(ValueError):
    """A text is no Python literal."""


def read_python_literals(path: Path, *, encoding: str) -> Iterator[Record]:
    """Yields the records of each line that is not blank: a list's items, or the line's one value.

    A bare word is the name of a split and no record; before a literal on the same line it is left out. A line
    that is no literal, too long or nested too deeply is one fault.
    """
    for line in read_lines(path, max_bytes=MAX_LITERAL_BYTES):
        if line.too_long:
            detail = f"the line at offset {line.offset} has more than {MAX_LITERAL_BYTES:,} bytes"
            yield broken("line_too_long", detail, _raw(line, encoding))
            continue
        try:
            text = decode(line.data, encoding, offset=line.offset).strip("\ufeff \t")
            literal = _without_split_name(text)
            value = parse_literal(literal) if literal else []
        except IllegalByteError as error:
            yield broken("encoding", str(error), _raw(line, encoding))
        except BrokenLiteralError as error:
            yield broken("broken_literal", f"{error} (line at offset {line.offset})", _raw(line, encoding))
        else:
            # A tuple has become a list, but is one record.
            items = value if literal.startswith("[") or not literal else [value]
            yield from (Record(item, len(text) // len(items)) for item in items)


def parse_literal(text: str) -> Any:
    """The JSON value that a Python literal stands for; nothing in it is ever called.

    Tuples and sets become lists, keys become strings, infinite numbers null, lone surrogates U+FFFD.

    Raises:
        BrokenLiteralError: it is no literal, or has bytes or complex numbers in it.
    """
    try:
        value = _as_json(ast.literal_eval(text))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        complaint = "nested too deeply" if isinstance(error, (MemoryError, RecursionError)) else str(error)
        raise BrokenLiteralError(f"no Python literal: {complaint}") from None
    return without_lone_surrogates(value) if may_have_surrogates(text) else value


def _without_split_name(text: str) -> str:
    match = _SPLIT_NAME.match(text)
    return text if match is None or match[0].strip() in _CONSTANTS else text[match.end() :]


def _as_json(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [_as_json(item) for item in value]
        case set():
            return [_as_json(item) for item in sorted(value, key=repr)]
        case dict():
            return {_as_name(key): _as_json(item) for key, item in value.items()}
        case _:
            raise BrokenLiteralError(f"a value of type {type(value).__name__} has no place in a record")


def _as_name(key: Any) -> str:
    return key if type(key) is str else str(key)


def _raw(line: Line, encoding: str) -> str:
    return line.data[:_RAW_BYTES].decode(encoding, errors="replace")
