"""A question and its answer in named fields."""

from __future__ import annotations

from typing import Any

import polars as pl

from medpipe.catalog.layouts import QuestionAnswerLayout
from medpipe.normalize.extracted import Batch, type_name
from medpipe.normalize.layouts.conversation import ASSISTANT, SYSTEM, USER, FlatTurns, conversations
from medpipe.normalize.layouts.values import (
    UnexpectedTypeError,
    first_string,
    joined_strings,
    read_answer,
    read_question,
)
from medpipe.records.kinds import Language


def read_question_answer(batch: Batch, layout: QuestionAnswerLayout, language: Language) -> pl.DataFrame:
    """Conversations: earlier rounds where there are any, then the question and its answer.

    A list of questions stands for one question and its paraphrases: the first is taken. A row whose
    question or answer (of an earlier round, too) is empty is rejected.
    """
    turns = FlatTurns()
    for position in range(len(batch.values)):
        row = batch.expect_object(position)
        if row is not None:
            _read_row(batch, position, row, layout, language, turns)
    flat = turns.cleaned()
    empty = flat.filter(pl.col("content") == "")
    for role, reason in ((USER, "empty_question"), (ASSISTANT, "empty_answer")):
        batch.reject_all(empty.filter(pl.col("role") == role)["position"], reason)
    return conversations(batch, flat)


def _read_row(
    batch: Batch,
    position: int,
    row: dict[str, Any],
    layout: QuestionAnswerLayout,
    language: Language,
    turns: FlatTurns,
) -> None:
    question = read_question(batch, position, row, layout.question)
    answer = read_answer(batch, position, row, layout.answer, language)
    if question is None or answer is None:
        return
    try:
        system = first_string(row.get(layout.system)) if layout.system else ""
        rounds = _rounds(row.get(layout.history), language) if layout.history else []
    except UnexpectedTypeError as error:
        batch.reject(position, "unexpected_type", str(error))
        return
    turns.add(position, SYSTEM, system)
    for role, content in rounds:
        turns.add(position, role, content)
    turns.add(position, USER, question)
    turns.add(position, ASSISTANT, answer)


def _rounds(history: Any, language: Language) -> list[tuple[str, str]]:
    """Earlier rounds as turns; rounds without any text are left out."""
    if not history:
        return []
    if type(history) is not list:
        raise UnexpectedTypeError(f"history: expected a list of rounds, got {type_name(history)}")
    turns = []
    for item in history:
        if type(item) is not list or len(item) != 2:
            raise UnexpectedTypeError("history: expected rounds of [question, answer]")
        question, answer = first_string(item[0]), joined_strings(item[1], language)
        if question.strip() or answer.strip():
            turns += [(USER, question), (ASSISTANT, answer)]
    return turns
