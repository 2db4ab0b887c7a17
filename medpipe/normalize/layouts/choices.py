"""Options and answers of exam questions, in the shapes in which they are published."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from medpipe.catalog.layouts import MultipleChoiceLayout
from medpipe.normalize.extracted import UnusableRowError, type_name
from medpipe.normalize.layouts.values import UnexpectedTypeError, joined_strings, list_value
from medpipe.normalize.literals import literal_value
from medpipe.records.kinds import Language

_LABEL_KEYS = ("label", "key", "id")
_TEXT_KEYS = ("text", "value", "content")
_BETWEEN_LABELS = re.compile(r"[\s,，、;；|/+&]+")
_AFTER_LABEL = r"[)）.．、:：](?!(?<=\d[.．:：])\d)"
"""What ends a label; in `1.5mg` and `1:1000` it is a part of the number."""
_AROUND_LABEL = "()（）[]【】.．、。:：\"' \t\n"


class Option(NamedTuple):
    """One option; its text may be empty."""

    label: str
    text: str


def as_options(row: dict[str, Any], layout: MultipleChoiceLayout, language: Language) -> list[Option]:
    """The options of a row, empty ones included, so that a position means what the publisher meant.

    Raises:
        UnusableRowError: there is no such field, it holds neither an object nor a list, or an option is no
            text.
    """
    if layout.choices:
        return _lettered(layout.choices)
    if not any(name in row for name in layout.options):
        missing = " or ".join(repr(name) for name in layout.options)
        raise UnusableRowError("missing_field", f"no field {missing}")
    if len(layout.options) > 1:
        texts = [joined_strings(row.get(name), language) for name in layout.options]
        if all(len(name) == 1 for name in layout.options):
            return [Option(name, text) for name, text in zip(layout.options, texts, strict=True)]
        return _lettered(texts)
    value = row[layout.options[0]]
    if type(value) is str:
        value = literal_value(value)
    if value is None:
        return []
    if type(value) is dict:
        return [Option(label.strip(), joined_strings(text, language)) for label, text in value.items()]
    if type(value) is not list:
        raise UnexpectedTypeError(
            f"field '{layout.options[0]}': expected an object or a list of options, got {type_name(value)}"
        )
    if value and all(type(item) is dict for item in value):
        return [_labelled(item, language) for item in value]
    return _lettered([joined_strings(item, language) for item in value])


def _lettered(texts: Sequence[str]) -> list[Option]:
    return [
        Option(ascii_uppercase[at] if at < len(ascii_uppercase) else str(at + 1), text)
        for at, text in enumerate(texts)
    ]


def _labelled(item: dict[str, Any], language: Language) -> Option:
    """An option that is an object, such as `{"key": "A", "value": "…"}`."""
    label = next((item[key] for key in _LABEL_KEYS if key in item), None)
    text = next((item[key] for key in _TEXT_KEYS if key in item), None)
    if label is None or text is None:
        raise UnexpectedTypeError(f"an option has no label or no text, only {', '.join(item) or 'nothing'}")
    return Option(joined_strings(label, language).strip(), joined_strings(text, language))


def without_labels(options: Sequence[Option]) -> list[Option]:
    """Options whose texts repeat their own label (`A. …`) without it; unchanged unless all of them do.

    A number such as `1.5mg` starts with no label, though the option's label be `1`.
    """
    bare = []
    for option in options:
        match = re.match(rf"[(（]?{re.escape(option.label)}{_AFTER_LABEL}\s*", option.text)
        if match is None and option.text:
            return list(options)
        bare.append(option._replace(text=option.text[match.end() :] if match else ""))
    return bare


def answer_labels(value: Any, options: Sequence[Option], answer_is: str) -> list[str] | None:
    """Labels of the right options, each once.

    Args:
        value: the published answer: one, or a list of them.
        options: all options, cleaned, empty ones included.
        answer_is: what the answer is: `label`, `text`, `index_from_0` or `index_from_1`.

    Returns:
        None where there is no answer; an empty list where a part of it is none of the options.

    Raises:
        UnexpectedTypeError: the answer is an object or a truth value.
    """
    found: list[str] = []
    answered = False
    items = list_value(value)
    for item in [value] if items is None else items:
        text = joined_strings(item, Language.OTHER).strip()
        if not text:
            continue
        answered = True
        if answer_is == "label":
            labels = _by_label(text, options)
        elif answer_is == "text":
            labels = [option.label for option in options if _folded(option.text) == _folded(text)][:1]
        else:
            labels = _by_index(text, options, first=int(answer_is.removeprefix("index_from_")))
        if not labels:
            return []
        found += labels
    return list(dict.fromkeys(found)) if answered else None


def _by_label(text: str, options: Sequence[Option]) -> list[str]:
    """`B`, `(b)`, `A,C` or `ACD`; empty if a part is no label."""
    labels = {_folded(option.label): option.label for option in options}
    bare = _folded(text.strip(_AROUND_LABEL))
    if bare in labels:
        return [labels[bare]]
    parts = [part for part in _BETWEEN_LABELS.split(bare) if part]
    letters = parts if all(part in labels for part in parts) else [c for part in parts for c in part]
    return [labels[letter] for letter in letters] if all(letter in labels for letter in letters) else []


def _by_index(text: str, options: Sequence[Option], *, first: int) -> list[str]:
    digits = text.removesuffix(".0")
    if not digits.isdecimal():
        return []
    position = int(digits) - first
    return [options[position].label] if 0 <= position < len(options) else []


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
