"""One message of a conversation: an object with a role, as ShareGPT and OpenAI write it."""

from __future__ import annotations

from typing import Any

import orjson

from medpipe.catalog.layouts import TurnsLayout
from medpipe.normalize.extracted import UnusableRowError, type_name
from medpipe.normalize.layouts.conversation import ASSISTANT, FUNCTION, OBSERVATION, SYSTEM, USER
from medpipe.normalize.layouts.markers import speaker_name
from medpipe.normalize.layouts.values import UnexpectedTypeError, said

Turn = tuple[str, str]
"""Role and content."""


def roles_of(layout: TurnsLayout) -> dict[str, str]:
    """The role of each name that the layout knows, by the name without colon in lower case."""
    sides = {
        USER: layout.user,
        ASSISTANT: layout.assistant,
        SYSTEM: layout.system,
        FUNCTION: layout.function,
        OBSERVATION: layout.observation,
    }
    return {speaker_name(name): role for role, names in sides.items() for name in names}


def read_message(item: Any, roles: dict[str, str], layout: TurnsLayout) -> list[Turn]:
    """The turn of a message; two where an assistant speaks and calls a tool (OpenAI's `tool_calls`).

    Raises:
        UnusableRowError: the item is no message, its role is unknown, or its content is no text.
    """
    if type(item) is not dict:
        raise UnexpectedTypeError(f"a turn is {type_name(item)}")
    if layout.role not in item:
        raise UnusableRowError("missing_field", f"a turn has no field '{layout.role}'")
    name = item[layout.role]
    role = roles.get(speaker_name(str(name))) if isinstance(name, str | int) else None
    if role is None:
        shown = repr(name[:100]) if isinstance(name, str) else type_name(name)
        raise UnusableRowError("unknown_role", f"role {shown}")
    calls = item.get("tool_calls")
    if layout.content not in item and not calls:
        raise UnusableRowError("missing_field", f"a turn has no field '{layout.content}'")
    text = _text(item.get(layout.content))
    # What a tool gives back may well be `null`; nobody who talks says so.
    turns = [(role, text if role in (FUNCTION, OBSERVATION) else said(text))]
    if calls:
        turns.append((FUNCTION, _calls_text(calls)))
    return turns


def _text(content: Any) -> str:
    """Content as published: a string, null, or OpenAI's list of parts."""
    if content is None:
        return ""
    if type(content) is str:
        return content
    if type(content) is list:
        return "\n".join(_part_text(part) for part in content)
    raise UnexpectedTypeError(f"the content of a turn is {type_name(content)}")


def _part_text(part: Any) -> str:
    text = part.get("text") if type(part) is dict else part
    if isinstance(text, str):
        return text
    kind = part.get("type") if type(part) is dict else type_name(part)
    raise UnexpectedTypeError(f"a part of a turn's content is no text but {str(kind)[:100]!r}")


def _calls_text(calls: Any) -> str:
    """Tool calls as JSON, each with its `name` and `arguments`."""
    if type(calls) is str:
        return calls
    if type(calls) is not list:
        raise UnexpectedTypeError(f"the tool calls of a turn are {type_name(calls)}")
    functions = [call.get("function", call) if type(call) is dict else call for call in calls]
    try:
        return orjson.dumps(functions[0] if len(functions) == 1 else functions).decode()
    except TypeError as error:
        raise UnexpectedTypeError(f"the tool calls of a turn are no JSON: {error}") from error
