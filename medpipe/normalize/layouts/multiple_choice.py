"""Exam questions with options: exam items for evaluation, or conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from medpipe.catalog.layouts import MultipleChoiceLayout
from medpipe.normalize.extracted import Batch, UnusableRowError
from medpipe.normalize.layouts.choices import Option, answer_labels, as_options, without_labels
from medpipe.normalize.layouts.conversation import ASSISTANT, USER, FlatTurns, conversations
from medpipe.normalize.layouts.pool import TextPool
from medpipe.normalize.layouts.values import UnexpectedTypeError, lines, read_strings
from medpipe.records.kinds import Kind, Language

_OPTION = pl.Struct({"label": pl.String, "text": pl.String})
_EXAM_ITEM = pl.Schema(
    {
        "position": pl.Int64(),
        "question": pl.String(),
        "options": pl.List(_OPTION),
        "answers": pl.List(pl.String),
        "subject": pl.String(),
    }
)


@dataclass(frozen=True)
class _Published:
    """A question as published; texts are numbers in the pool."""

    context: list[int]
    question: list[int]
    options: list[tuple[str, int]]
    answer: Any
    explanation: int
    subject: int


@dataclass(frozen=True)
class _Question:
    """A question that can be asked."""

    text: str
    options: list[Option]
    answers: list[str]
    """Labels, in the order of the options."""
    explanation: str
    subject: str


def read_multiple_choice(
    batch: Batch, layout: MultipleChoiceLayout, kind: Kind, language: Language
) -> pl.DataFrame:
    """Exam items; or, for kind `conversation`, the question with its options and the answer.

    Options without text are left out; a question with fewer than two is rejected (`empty_options`), and so
    is one whose answer is none of its options (`unknown_answer`). Options that the publisher repeats inside
    the question stay there. The answer of a conversation is the right option, `B. text`, with the
    explanation below.
    """
    pool = TextPool()
    published: dict[int, _Published] = {}
    questions: dict[int, _Question] = {}
    for position in range(len(batch.values)):
        try:
            published[position] = _published(batch.expect_object(position), layout, language, pool)
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
    cleaned = pool.cleaned()
    for position, item in published.items():
        try:
            questions[position] = _question(item, layout, cleaned)
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
    return batch.kept(_exam_items(questions)) if kind is Kind.EXAM_ITEM else _talks(batch, questions)


def _published(
    row: dict[str, Any], layout: MultipleChoiceLayout, language: Language, pool: TextPool
) -> _Published:
    if layout.answer not in row:
        raise UnusableRowError("missing_field", f"no field '{layout.answer}'")
    question = [pool.add(text) for text in read_strings(row, layout.question, lines)]
    context = [pool.add(text) for name in layout.context for text in _optional(row, name)]
    options = [(option.label, pool.add(option.text)) for option in as_options(row, layout, language)]
    explanation, subject = (
        pool.add("\n".join(_optional(row, name))) for name in (layout.explanation, layout.subject)
    )
    return _Published(context, question, options, row[layout.answer], explanation, subject)


def _optional(row: dict[str, Any], name: str | None) -> list[str]:
    """The text of a field that a row may lack."""
    return read_strings(row, [name], lines) if name is not None and name in row else []


def _question(item: _Published, layout: MultipleChoiceLayout, cleaned: list[str]) -> _Question:
    """The question once its texts are cleaned."""
    if not any(cleaned[number] for number in item.question):
        raise UnusableRowError("empty_question", "the question has no text")
    options = without_labels([Option(label, cleaned[number]) for label, number in item.options])
    with_text = [option for option in options if option.text]
    if len(with_text) < 2:
        raise UnusableRowError("empty_options", "fewer than two options have a text")
    try:
        answers = answer_labels(item.answer, options, layout.answer_is)
    except UnexpectedTypeError as error:
        raise UnexpectedTypeError(f"field '{layout.answer}': {error}") from error
    if answers is None:
        raise UnusableRowError("empty_answer", f"field '{layout.answer}' is empty")
    right = [option.label for option in with_text if option.label in answers]
    if not answers or len(right) < len(answers):
        known = ", ".join(option.label for option in with_text)
        raise UnusableRowError("unknown_answer", f"{str(item.answer)[:100]!r} is none of the options {known}")
    text = "\n".join(cleaned[number] for number in (*item.context, *item.question) if cleaned[number])
    return _Question(text, with_text, right, cleaned[item.explanation], cleaned[item.subject])


def _exam_items(questions: dict[int, _Question]) -> pl.DataFrame:
    rows = [
        (
            position,
            question.text,
            [option._asdict() for option in question.options],
            question.answers,
            question.subject or None,
        )
        for position, question in questions.items()
    ]
    return pl.DataFrame(rows, schema=_EXAM_ITEM, orient="row")


def _talks(batch: Batch, questions: dict[int, _Question]) -> pl.DataFrame:
    turns = FlatTurns()
    for position, question in questions.items():
        options = [f"{option.label}. {option.text}" for option in question.options]
        labels = [option.label for option in question.options]
        right = [options[labels.index(label)] for label in question.answers]
        turns.add(position, USER, "\n".join([question.text, *options]))
        turns.add(position, ASSISTANT, "\n".join([*right, question.explanation]))
    return conversations(batch, turns)
