"""Conversations as lists, of objects with a role or of spoken strings, and packed in one string."""

from __future__ import annotations

import re
from functools import partial
from itertools import cycle
from typing import Any

import polars as pl

from medpipe.catalog.layouts import TurnsLayout
from medpipe.normalize.extracted import Batch, UnusableRowError, type_name
from medpipe.normalize.layouts.conversation import ASSISTANT, SYSTEM, USER, FlatTurns, conversations
from medpipe.normalize.layouts.markers import speaker_name, speaker_pattern
from medpipe.normalize.layouts.messages import Turn, read_message, roles_of
from medpipe.normalize.layouts.values import (
    UnexpectedTypeError,
    first_string,
    joined_strings,
    list_value,
    read_strings,
    reject_undesirable,
    said,
)
from medpipe.records.kinds import Language


def read_turns(batch: Batch, layout: TurnsLayout, language: Language) -> pl.DataFrame:
    """Conversations: see `conversations` for what makes one whole."""
    reader = TurnReader(layout)
    read_answer = partial(joined_strings, language=language)
    turns = FlatTurns()
    for position, value in enumerate(batch.values):
        try:
            row = batch.expect_object(position)
            if layout.desirable is not None:
                reject_undesirable(row, layout.desirable)
            # A row may be the bare list of turns.
            bare = type(value) is list and layout.turns not in row
            talk = reader.read(value) if bare else reader.read_row(row)
            if layout.answer is not None:
                [answer] = read_strings(row, [layout.answer], read_answer)
                if not answer.strip():
                    raise UnusableRowError("empty_answer", f"field '{layout.answer}'")
                talk.append((ASSISTANT, answer))
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
            continue
        for role, content in talk:
            turns.add(position, role, content)
    return conversations(batch, turns)


class TurnReader:
    """Reads turns in one layout."""

    def __init__(self, layout: TurnsLayout) -> None:
        self._layout = layout
        self._roles = roles_of(layout)
        self._prefix = speaker_pattern([*layout.user, *layout.assistant, *layout.system])
        self._take_turns = not layout.user and not layout.assistant

    def read_row(self, row: dict[str, Any]) -> list[Turn]:
        """The turns of a row, with its system prompt and first words where they stand outside the list.

        Raises:
            UnusableRowError: they are missing, or one cannot be read.
        """
        layout = self._layout
        if layout.turns not in row:
            raise UnusableRowError("missing_field", f"no field '{layout.turns}'")
        value = row[layout.turns]
        items = self._zipped(value) if type(value) is dict else list_value(value)
        if items is not None:
            turns = self.read(items)
        elif type(value) is str:
            turns = self._packed(value)
        else:
            raise UnexpectedTypeError(f"field '{layout.turns}': expected a list, got {type_name(value)}")
        if layout.opening is not None and row.get(layout.opening) is not None:
            [opening] = read_strings(row, [layout.opening], first_string)
            # Some publishers repeat it as the first turn.
            if not turns or turns[0][0] != USER or not turns[0][1].strip().startswith(opening.strip()):
                turns.insert(0, (USER, opening))
        if layout.system_field is not None and row.get(layout.system_field) is not None:
            [system] = read_strings(row, [layout.system_field], first_string)
            turns.insert(0, (SYSTEM, system))
        return turns

    def read(self, items: list[Any]) -> list[Turn]:
        """The turns of a list.

        Raises:
            UnusableRowError: one of them cannot be read.
        """
        if self._take_turns and all(type(item) is str for item in items):
            return list(zip(cycle((USER, ASSISTANT)), map(said, items), strict=False))
        turns = []
        for item in items:
            if type(item) is str:
                turns.append(self._spoken(item))
            else:
                turns += read_message(item, self._roles, self._layout)
        return turns

    def _zipped(self, value: dict[str, Any]) -> list[Any] | None:
        """Turns published as a list of roles beside a list of contents (a `Sequence` of `datasets`)."""
        roles, contents = value.get(self._layout.role), value.get(self._layout.content)
        if type(roles) is not list or type(contents) is not list or len(roles) != len(contents):
            return None
        return [
            {self._layout.role: role, self._layout.content: content}
            for role, content in zip(roles, contents, strict=True)
        ]

    def _spoken(self, text: str) -> Turn:
        """A string turn such as `问：…`."""
        match = self._prefix.match(text)
        if match is None:
            raise UnusableRowError("unknown_role", f"no known prefix in {text[:100]!r}")
        return self._role(match), said(text[match.end() :])

    def _packed(self, text: str) -> list[Turn]:
        """The turns of a string that holds them all, each after its speaker's name."""
        matches = list(self._prefix.finditer(text))
        if not text.strip():
            return []
        if not matches or text[: matches[0].start()].strip():
            raise UnusableRowError("unknown_role", f"no known prefix in {text[:100]!r}")
        ends = [match.start() for match in matches[1:]] + [len(text)]
        return [
            (self._role(match), said(text[match.end() : end]))
            for match, end in zip(matches, ends, strict=True)
        ]

    def _role(self, prefix: re.Match[str]) -> str:
        return self._roles[speaker_name(prefix[prefix.lastgroup or 0])]
