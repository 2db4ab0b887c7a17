"""The prompt and the answers of one published preference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medpipe.catalog.layouts import PreferenceLayout, TurnsLayout
from medpipe.normalize.extracted import UnusableRowError
from medpipe.normalize.layouts.conversation import ASSISTANT, SYSTEM, USER
from medpipe.normalize.layouts.messages import Turn
from medpipe.normalize.layouts.turns import TurnReader
from medpipe.normalize.layouts.values import (
    first_string,
    joined_strings,
    read_history,
    read_list,
    read_strings,
)
from medpipe.records.kinds import Language


@dataclass(frozen=True)
class PreferenceRow:
    """Texts as published."""

    prompt: list[Turn]
    answers: list[str]
    """Best first."""


class PreferenceReader:
    """Reads rows in one layout."""

    def __init__(self, layout: PreferenceLayout, language: Language) -> None:
        self._layout = layout
        self._language = language
        self._messages = TurnReader(layout.messages or TurnsLayout())
        self._sharegpt = TurnReader(TurnsLayout())
        self._openai = TurnReader(TurnsLayout(role="role", content="content"))

    def read(self, row: dict[str, Any]) -> PreferenceRow:
        """The prompt and the answers of a row.

        Raises:
            UnusableRowError: a part is missing or cannot be read.
        """
        sides = self._sides(row)
        if not sides:
            raise UnusableRowError("single_answer", f"field '{self._layout.ranked[0]}' is empty")
        shared = sides[0][:-1]
        for side in sides:
            if side[-1][0] != ASSISTANT:
                raise UnusableRowError("no_answer", f"the last message is of the role '{side[-1][0]}'")
            if _spoken(side[:-1]) != _spoken(shared):
                raise UnusableRowError("different_prompts", "messages differ before the last one already")
        prompt = [*self._before(row), *self._asked(row, shared)]
        return PreferenceRow(prompt, [side[-1][1] for side in sides])

    def _sides(self, row: dict[str, Any]) -> list[list[Turn]]:
        """For each answer, best first, the messages that it is the last one of."""
        layout = self._layout
        if len(layout.ranked) == 1:
            values = read_list(row, layout.ranked[0])
        else:
            names = layout.ranked or (layout.chosen, layout.rejected)
            missing = [name for name in names if name not in row]
            if missing and (not layout.ranked or len(missing) == len(names)):
                raise UnusableRowError("missing_field", f"no field '{missing[0]}'")
            values = [row.get(name) for name in names]
        return [self._side(value) for value in values]

    def _side(self, value: Any) -> list[Turn]:
        messages = [value] if type(value) is dict else value
        if type(messages) is list and messages and type(messages[0]) is dict:
            return self._reader_of(messages[0]).read(messages)
        return [(ASSISTANT, joined_strings(value, self._language))]

    def _reader_of(self, message: dict[str, Any]) -> TurnReader:
        if self._layout.messages is not None and self._layout.messages.role in message:
            return self._messages
        return self._sharegpt if "from" in message else self._openai

    def _before(self, row: dict[str, Any]) -> list[Turn]:
        """The system prompt and earlier rounds."""
        turns: list[Turn] = []
        if self._layout.system is not None and self._layout.system in row:
            turns += [(SYSTEM, text) for text in read_strings(row, [self._layout.system], first_string)]
        if self._layout.history is not None:
            for question, answer in read_history(row.get(self._layout.history), self._language):
                if question.strip() and answer.strip():
                    turns += [(USER, question), (ASSISTANT, answer)]
                elif question.strip() or answer.strip():
                    raise UnusableRowError(
                        "empty_answer" if question.strip() else "empty_question", "an earlier round"
                    )
        return turns

    def _asked(self, row: dict[str, Any], shared: list[Turn]) -> list[Turn]:
        """What was asked: in fields of its own, in the messages that both answers share, or in both."""
        messages = self._layout.messages
        names = self._layout.prompt if messages is None else (messages.turns,)
        if shared and not any(row.get(name) for name in names):
            return shared
        if messages is not None:
            asked = self._messages.read_row(row)
        else:
            asked = [(USER, text) for text in read_strings(row, names, first_string)]
        said = _spoken(asked)
        if _spoken(shared)[: len(said)] == said:
            asked = [turn for turn in asked if turn[0] == SYSTEM]
        return asked + shared


def _spoken(turns: list[Turn]) -> list[str]:
    """What is said, without the system prompt."""
    return [content.strip() for role, content in turns if role != SYSTEM and content.strip()]
