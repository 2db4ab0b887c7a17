"""Conversations as lists: of objects with a role, or of strings with a spoken prefix."""

from __future__ import annotations

from typing import Any

import polars as pl

from medpipe.catalog.layouts import TurnsLayout
from medpipe.normalize.extracted import Batch, type_name
from medpipe.normalize.layouts.conversation import ASSISTANT, SYSTEM, USER, FlatTurns, conversations

_COLONS = ":："


class _BadTurnError(Exception):
    """A turn that cannot be read makes its row unusable."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def read_turns(batch: Batch, layout: TurnsLayout) -> pl.DataFrame:
    """Conversations: see `conversations` for what makes one whole."""
    roles = {name.strip(_COLONS + " ").casefold(): USER for name in layout.user}
    roles |= {name.strip(_COLONS + " ").casefold(): ASSISTANT for name in layout.assistant}
    roles |= {name.strip(_COLONS + " ").casefold(): SYSTEM for name in layout.system}
    prefixes = sorted(roles, key=len, reverse=True)
    turns = FlatTurns()
    for position, value in enumerate(batch.values):
        items = _items(batch, position, value, layout)
        try:
            for item in items or ():
                if type(item) is str:
                    turns.add(position, *_spoken_turn(item, roles, prefixes))
                else:
                    turns.add(position, *_object_turn(item, roles, layout))
        except _BadTurnError as error:
            batch.reject(position, error.reason, error.detail)
    return conversations(batch, turns.cleaned())


def _items(batch: Batch, position: int, value: Any, layout: TurnsLayout) -> list[Any] | None:
    if type(value) is list:
        return value
    row = batch.expect_object(position)
    if row is None:
        return None
    if layout.turns not in row:
        batch.reject(position, "missing_field", f"no field '{layout.turns}'")
        return None
    items = row[layout.turns]
    if type(items) is not list:
        batch.reject(
            position, "unexpected_type", f"field '{layout.turns}': expected a list, got {type_name(items)}"
        )
        return None
    return items


def _object_turn(item: Any, roles: dict[str, str], layout: TurnsLayout) -> tuple[str, str]:
    """Role and content of an object turn."""
    if type(item) is not dict:
        raise _BadTurnError("unexpected_type", f"a turn is {type_name(item)}")
    for name in (layout.role, layout.content):
        if name not in item:
            raise _BadTurnError("missing_field", f"a turn has no field '{name}'")
    role, content = item[layout.role], item[layout.content]
    if type(role) is not str or role.strip().casefold() not in roles:
        raise _BadTurnError("unknown_role", f"role {str(role)[:100]!r}")
    if content is not None and type(content) is not str:
        raise _BadTurnError("unexpected_type", f"the content of a turn is {type_name(content)}")
    return roles[role.strip().casefold()], content or ""


def _spoken_turn(item: str, roles: dict[str, str], prefixes: list[str]) -> tuple[str, str]:
    """Role and content of a string turn such as `问：…`."""
    text = item.strip()
    folded = text.casefold()
    for prefix in prefixes:
        rest = text[len(prefix) :].lstrip()
        if folded.startswith(prefix) and rest[:1] and rest[0] in _COLONS:
            return roles[prefix], rest[1:]
    raise _BadTurnError("unknown_role", f"no known prefix in {text[:100]!r}")
