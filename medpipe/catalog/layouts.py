"""How a source's own records are laid out: what the normalisers read.

A layout names fields, never a publisher; the same layout serves every source that uses it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Layout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextLayout(_Layout):
    """One text a record: `{"text": "…"}`, a plain string, or a block of a text file."""

    layout: Literal["text"] = "text"
    text: str = "text"
    """Field that holds the text."""
    title: str | None = None
    """Field whose value is set before the text, on a line of its own, unless the text starts with it."""


class FieldsLayout(_Layout):
    """A record of many named fields (a disease, a drug), rendered as labelled clauses."""

    layout: Literal["fields"] = "fields"
    fields: tuple[str, ...] = ()
    """Canonical field names to use, in this order; the label table's own order if empty."""


class QuestionAnswerLayout(_Layout):
    """A question and its answer in named fields, with the rounds before them where there are any."""

    layout: Literal["question_answer"] = "question_answer"
    question: tuple[str, ...] = ("question",)
    """Fields whose non-empty values make the question, joined by a line break."""
    answer: str = "answer"
    """Field of the answer: a string, or a list of strings that are joined."""
    system: str | None = None
    history: str | None = None
    """Field with earlier rounds as a list of [question, answer] pairs."""


class TurnsLayout(_Layout):
    """A conversation as a list: of `{role, content}` objects or of strings with a spoken prefix."""

    layout: Literal["turns"] = "turns"
    turns: str = "conversations"
    """Field that holds the list."""
    role: str = "from"
    content: str = "value"
    user: tuple[str, ...] = ("human", "user")
    """Role names, or prefixes such as `问：`, of the asking side."""
    assistant: tuple[str, ...] = ("gpt", "assistant")
    system: tuple[str, ...] = ("system",)


class PreferenceLayout(_Layout):
    """A prompt, the better answer and the worse one."""

    layout: Literal["preference"] = "preference"
    prompt: tuple[str, ...] = ("question",)
    chosen: str = "response_chosen"
    rejected: str = "response_rejected"


Layout = Annotated[
    TextLayout | FieldsLayout | QuestionAnswerLayout | TurnsLayout | PreferenceLayout,
    Field(discriminator="layout"),
]
