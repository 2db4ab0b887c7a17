"""Strings, lists and truth values out of the values that fields are published as."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from medpipe.normalize.extracted import UnusableRowError, type_name
from medpipe.normalize.field_values import number_text
from medpipe.normalize.literals import literal_value
from medpipe.normalize.tidy import is_empty_word
from medpipe.records.kinds import Language

_SENTENCE_ENDS = ("。", "！", "？", "；", "…", ".", "!", "?", ";", "”", "）", ")")
_LONGEST_EMPTY_WORD = 16
"""Characters, with some blanks: a longer string says something."""
_FALSE_WORDS = ("false", "0", "0.0", "no", "否")
_TRUE_WORDS = ("true", "1", "1.0", "yes", "是")


class UnexpectedTypeError(UnusableRowError):
    """A field holds a value of a type that the layout cannot read."""

    def __init__(self, detail: str) -> None:
        super().__init__("unexpected_type", detail)


def first_string(value: Any) -> str:
    """A question: the string itself, a number's digits, or the first non-empty string of a nested list.

    The other strings of a list are paraphrases of the same question (`[["q", "paraphrase"]]`), so they
    make no records of their own.

    Raises:
        UnexpectedTypeError: the value or an item is an object or a truth value.
    """
    if type(value) is list:
        return next((text for text in _strings(value) if text.strip()), "")
    return _scalar(value)


def joined_strings(value: Any, language: Language) -> str:
    """An answer: the string itself, a number's digits, or the strings of a nested list joined.

    Sentences are joined by line breaks, short items (`["脾气亏虚", "肝郁"]`) by semicolons.

    Raises:
        UnexpectedTypeError: the value or an item is an object or a truth value.
    """
    if type(value) is not list:
        return _scalar(value)
    parts = [part for text in _strings(value) if (part := text.strip())]
    if any("\n" in part or part.endswith(_SENTENCE_ENDS) for part in parts):
        return "\n".join(parts)
    return ("；" if language is Language.ZH else "; ").join(parts)


def lines(value: Any) -> str:
    """A passage: the string itself, a number's digits, or the strings of a nested list, a line each.

    Raises:
        UnexpectedTypeError: the value or an item is an object or a truth value.
    """
    if type(value) is not list:
        return _scalar(value)
    return "\n".join(part for text in _strings(value) if (part := text.strip()))


def said(text: str) -> str:
    """The string itself, or an empty one where it is only a word for a missing value, such as `nan`."""
    return "" if len(text) <= _LONGEST_EMPTY_WORD and is_empty_word(text) else text


def _strings(items: list[Any]) -> Iterator[str]:
    """The strings of a list and of the lists within it, in their order, however deep they lie."""
    open_lists = [iter(items)]
    while open_lists:
        for item in open_lists[-1]:
            if type(item) is list:
                open_lists.append(iter(item))
                break
            yield _scalar(item)
        else:
            open_lists.pop()


def _scalar(value: Any) -> str:
    if type(value) is str:
        return said(value)
    if value is None:
        return ""
    if type(value) is int or type(value) is float:
        return number_text(value) or ""
    raise UnexpectedTypeError(f"expected a string or a list of strings, got {type_name(value)}")


def read_strings(row: dict[str, Any], names: Sequence[str], read: Callable[[Any], str]) -> list[str]:
    """The named fields as strings, in their order; empty where the row lacks one.

    Args:
        row: the published object.
        names: its fields.
        read: one of the functions above.

    Raises:
        UnusableRowError: the row has none of the fields, or one of them cannot be read.
    """
    strings = []
    found = False
    for name in names:
        if name not in row:
            strings.append("")
            continue
        found = True
        try:
            strings.append(read(row[name]))
        except UnexpectedTypeError as error:
            raise UnexpectedTypeError(f"field '{name}': {error}") from error
    if not found:
        raise UnusableRowError("missing_field", f"no field {' or '.join(repr(name) for name in names)}")
    return strings


def require_string(row: dict[str, Any], name: str, *, empty: str) -> None:
    """Passes a row whose field holds a string that is not blank.

    Args:
        row: the published object.
        name: the field.
        empty: reason of a blank string.

    Raises:
        UnusableRowError: the field is missing, blank, or no string.
    """
    if name not in row:
        raise UnusableRowError("missing_field", f"no field '{name}'")
    if type(row[name]) is not str:
        raise UnexpectedTypeError(f"field '{name}': expected a string, got {type_name(row[name])}")
    if not row[name].strip():
        raise UnusableRowError(empty, f"field '{name}'")


def read_list(row: dict[str, Any], name: str) -> list[Any]:
    """The list in a field; a table's cell may hold it as a JSON or Python literal.

    Raises:
        UnusableRowError: the field is missing or holds no list.
    """
    if name not in row:
        raise UnusableRowError("missing_field", f"no field '{name}'")
    value = list_value(row[name])
    if value is None:
        raise UnexpectedTypeError(f"field '{name}': expected a list, got {type_name(row[name])}")
    return value


def list_value(value: Any) -> list[Any] | None:
    """A list, or the list that a string spells out in JSON or Python; None for everything else."""
    if type(value) is list:
        return value
    if type(value) is not str or not value.lstrip().startswith("["):
        return None
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        parsed = literal_value(value)
    return parsed if type(parsed) is list else None


def reject_undesirable(row: dict[str, Any], name: str) -> None:
    """Passes a row whose field holds a true value (KTO).

    Raises:
        UnusableRowError: the value is false, missing, or no truth value.
    """
    if name not in row:
        raise UnusableRowError("missing_field", f"no field '{name}'")
    value = row[name]
    word = str(value).strip().lower() if isinstance(value, str | int | float) else ""
    if word in _FALSE_WORDS:
        raise UnusableRowError("undesirable", f"field '{name}' is {value!r}")
    if word not in _TRUE_WORDS:
        raise UnexpectedTypeError(f"field '{name}': expected a truth value, got {type_name(value)}")


def read_history(value: Any, language: Language) -> list[tuple[str, str]]:
    """Earlier rounds published as a list of [question, answer] pairs; none where the value is empty.

    Raises:
        UnexpectedTypeError: the value is no such list.
    """
    if value is None or value == "":
        return []
    rounds = list_value(value)
    if rounds is None:
        raise UnexpectedTypeError(f"history: expected a list of rounds, got {type_name(value)}")
    if not all(type(item) is list and len(item) == 2 for item in rounds):
        raise UnexpectedTypeError("history: expected rounds of [question, answer]")
    return [(first_string(question), joined_strings(answer, language)) for question, answer in rounds]
