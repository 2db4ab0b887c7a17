"""Strings out of the values that question, answer and prompt fields are published as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medpipe.normalize.extracted import Batch, type_name
from medpipe.normalize.fields import is_empty_word, number_text
from medpipe.records.kinds import Language

_SENTENCE_ENDS = ("。", "！", "？", "；", "…", ".", "!", "?", ";", "”", "）", ")")


class UnexpectedTypeError(Exception):
    """A field holds a value of a type that the layout cannot read."""


def first_string(value: Any) -> str:
    """A question: the string itself, a number's digits, or the first non-empty string of a nested list.

    The other strings of a list are paraphrases of the same question (`[["q", "paraphrase"]]`), so they
    make no records of their own.

    Raises:
        UnexpectedTypeError: the value or an item is an object or a truth value.
    """
    if type(value) is list:
        return next((text for item in value if (text := first_string(item)).strip()), "")
    return _scalar(value)


def joined_strings(value: Any, language: Language) -> str:
    """An answer: the string itself, a number's digits, or the strings of a nested list joined.

    Sentences are joined by line breaks, short items (`["脾气亏虚", "肝郁"]`) by semicolons.

    Raises:
        UnexpectedTypeError: the value or an item is an object or a truth value.
    """
    if type(value) is not list:
        return _scalar(value)
    parts = [part for item in value if (part := joined_strings(item, language).strip())]
    if any("\n" in part or part.endswith(_SENTENCE_ENDS) for part in parts):
        return "\n".join(parts)
    return ("；" if language is Language.ZH else "; ").join(parts)


def _scalar(value: Any) -> str:
    if type(value) is str:
        return "" if is_empty_word(value) else value
    if value is None:
        return ""
    if type(value) is int or type(value) is float:
        return number_text(value) or ""
    raise UnexpectedTypeError(f"expected a string or a list of strings, got {type_name(value)}")


def read_question(batch: Batch, position: int, row: dict[str, Any], names: Sequence[str]) -> str | None:
    """Non-empty values of the named fields joined by line breaks; None with the row rejected."""
    present = [name for name in names if name in row]
    if not present:
        batch.reject(position, "missing_field", f"no field {_either(names)}")
        return None
    parts = []
    for name in present:
        try:
            part = first_string(row[name])
        except UnexpectedTypeError as error:
            batch.reject(position, "unexpected_type", f"field '{name}': {error}")
            return None
        if part.strip():
            parts.append(part)
    return "\n".join(parts)


def read_answer(
    batch: Batch, position: int, row: dict[str, Any], name: str, language: Language
) -> str | None:
    """The text of an answer field; None with the row rejected."""
    if name not in row:
        batch.reject(position, "missing_field", f"no field '{name}'")
        return None
    try:
        return joined_strings(row[name], language)
    except UnexpectedTypeError as error:
        batch.reject(position, "unexpected_type", f"field '{name}': {error}")
        return None


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)
