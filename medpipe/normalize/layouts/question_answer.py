"""Questions and their answers in named fields."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl

from medpipe.catalog.layouts import QuestionAnswerLayout
from medpipe.normalize.extracted import Batch, UnusableRowError, as_object
from medpipe.normalize.layouts.rounds import Rounds
from medpipe.normalize.layouts.values import (
    first_string,
    joined_strings,
    lines,
    list_value,
    read_history,
    read_list,
    read_strings,
    reject_undesirable,
    require_string,
)
from medpipe.records.kinds import Language


def read_question_answer(batch: Batch, layout: QuestionAnswerLayout, language: Language) -> pl.DataFrame:
    """Conversations: earlier rounds where there are any, then the question and its answer, or all pairs.

    A list of questions stands for one question and its paraphrases: the first is taken. A row whose
    question or answer (of an earlier round, too) is empty is rejected; an earlier round or a pair without
    any text is left out.
    """
    rounds = Rounds(
        question_fields=len(layout.question), answer_fields=len(layout.answer), markers=layout.markers
    )
    joined = partial(joined_strings, language=language)
    read_answer = first_string if layout.answer_list == "first" else joined
    for position in range(len(batch.values)):
        row = batch.expect_object(position)
        try:
            for name in layout.required:
                require_string(row, name, empty=_reason_of_empty(layout, name))
            if layout.desirable is not None:
                reject_undesirable(row, layout.desirable)
            if layout.system is not None or layout.context:
                rounds.add_preamble(position, _text(row, [layout.system or ""]), _text(row, layout.context))
            if layout.history is not None:
                for asked, answered in read_history(row.get(layout.history), language):
                    rounds.add(position, [asked], [answered], optional=True)
            for item in (row,) if layout.pairs is None else map(as_object, read_list(row, layout.pairs)):
                question = read_strings(item, layout.question, first_string)
                if layout.spelled_out:
                    item = {**item, **_spelled_out(item, layout.answer)}
                answer = read_strings(item, layout.answer, read_answer)
                rounds.add(position, question, answer, optional=layout.pairs is not None)
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
    return rounds.conversations(batch)


def _spelled_out(row: dict[str, Any], names: Sequence[str]) -> dict[str, list[Any]]:
    """The lists that strings in the named fields spell out."""
    found = {name: list_value(row[name]) for name in names if type(row.get(name)) is str}
    return {name: items for name, items in found.items() if items is not None}


def _text(row: dict[str, Any], names: Sequence[str]) -> str:
    """What the named fields hold, where there are any."""
    present = [name for name in names if name in row]
    return "\n".join(filter(None, read_strings(row, present, lines))) if present else ""


def _reason_of_empty(layout: QuestionAnswerLayout, name: str) -> str:
    return "empty_answer" if name in layout.answer else "empty_question"
