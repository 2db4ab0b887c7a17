"""How a source's own records are laid out: what the normalisers read.

A layout names fields, never a publisher; the same layout serves every source that uses it. A record that
is a list counts as an object with the fields `0`, `1`, …, and a record that is a bare value as an object
with the field `value`, so that `[question, answer]` pairs need no layout of their own.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from medpipe.records.kinds import Kind


def _as_names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
"""One name, or several in their order."""


def _is_expression(pattern: str) -> str:
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        complaint = re.search(r"^error: (.+)$", str(error), re.MULTILINE)
        raise ValueError(
            f"'{pattern}' is no regular expression ({complaint[1] if complaint else error})"
        ) from None
    return pattern


Expression = Annotated[str, AfterValidator(_is_expression)]
"""A regular expression as Polars reads them (without looking around or back)."""
Expressions = Annotated[tuple[Expression, ...], BeforeValidator(_as_names)]


class _Layout(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextLayout(_Layout):
    """One text a record: `{"text": "…"}`, a plain string, or a piece of a text file."""

    layout: Literal["text"] = "text"
    text: str = "text"
    """Field that holds the text."""
    title: str | None = None
    """Field whose value is set before the text, on a line of its own, unless the text starts with it."""
    remove: Expressions = ()
    """Regular expressions of marks that are no text and are taken out: `<篇名>`, `(?m)^内容：`."""
    wrapped_at: int | None = Field(default=None, ge=2)
    """For lines that were broken to a width: one of at least so many characters goes on in the next."""


class ArticleLayout(_Layout):
    """An article: title, abstract and sections, each a string or a list of strings."""

    layout: Literal["article"] = "article"
    title: str | None = "title"
    abstract: str | None = "abstract"
    sections: str = "sections"
    """Field with a list: of strings, of lists of sentences, or of objects."""
    section_titles: str | None = None
    """Field with the list of the sections' titles, where they stand beside the sections."""
    section_title: str = "title"
    """Title of a section that is an object."""
    section_text: str = "text"
    """Text of a section that is an object: a string, or a list of paragraphs; subsections in `sections`."""


class FieldsLayout(_Layout):
    """A record of many named fields (a disease, a drug), rendered as labelled clauses."""

    layout: Literal["fields"] = "fields"
    fields: tuple[str, ...] = ()
    """Canonical field names to use, in this order; the label table's own order if empty."""
    expand: Names = ()
    """Fields that hold an object whose members count as fields of the record."""
    labels: dict[str, str] = {}
    """Label of a field, in place of the table's or for a field that the table does not have."""


class TriplesLayout(_Layout):
    """One statement of a knowledge graph a record: subject, predicate, object."""

    layout: Literal["triples"] = "triples"
    subject: str = "subject"
    predicate: str = "predicate"
    object: str = "object"


class QuestionAnswerLayout(_Layout):
    """A question and its answer in named fields, with the rounds before them where there are any."""

    layout: Literal["question_answer"] = "question_answer"
    question: Names = ("question",)
    """Fields whose non-empty values make the question, joined by a line break."""
    answer: Names = ("answer",)
    """Fields whose non-empty values make the answer: a string, or a list of strings."""
    answer_list: Literal["joined", "first"] = "joined"
    """What a list in an answer field holds: parts of one answer, or alternatives; then the first counts."""
    spelled_out: bool = False
    """Whether an answer that is a string may spell out a list, in JSON or Python: `['咳嗽', '发热']`."""
    context: Names = ()
    """Fields set before the first question: a case, a passage."""
    pairs: str | None = None
    """Field with a list of objects or pairs; `question` and `answer` then name fields of its items, and the
    record is one conversation."""
    markers: Names = ()
    """Markers such as `问：` and `<s>`, taken off both ends of questions and answers."""
    required: Names = ()
    """Fields that must each hold a non-empty string; a row where one does not is rejected."""
    system: str | None = None
    history: str | None = None
    """Field with earlier rounds as a list of [question, answer] pairs."""
    desirable: str | None = None
    """Field with a truth value (KTO); a record where it is false is rejected."""


class TurnsLayout(_Layout):
    """A conversation: a list of `{role, content}` objects or of prefixed strings, or one packed string."""

    layout: Literal["turns"] = "turns"
    turns: str = "conversations"
    """Field that holds the list or the string."""
    role: str = "from"
    content: str = "value"
    user: Names = ("human", "user")
    """Role names, or prefixes such as `问：` and `<user>:`, of the asking side. Where both sides have none,
    strings take turns, and the asking side starts."""
    assistant: Names = ("gpt", "assistant")
    system: Names = ("system",)
    function: Names = ("function_call", "tool_call")
    """Role names of the assistant's calls of a tool."""
    observation: Names = ("observation", "tool")
    """Role names of what a tool returned."""
    system_field: str | None = None
    """Field with the system prompt, where it stands outside the list."""
    opening: str | None = None
    """Field with the asking side's first words, where they stand outside the list."""
    answer: str | None = None
    """Field with the last answer, where it stands outside the list."""
    desirable: str | None = None
    """Field with a truth value (KTO); a record where it is false is rejected."""


class TranscriptLayout(_Layout):
    """A consultation written down as lines: headed sections, then what patient and doctor said."""

    layout: Literal["transcript"] = "transcript"
    text: str = "text"
    """Field that holds it, where the record is an object."""
    user: Names = ("病人", "患者", "Patient")
    """Who asks; the name stands on a line of its own or before a colon."""
    assistant: Names = ("医生", "Doctor")
    account: Names = ("Description", "病情描述")
    """Headings of the sections that are the patient's own account, set before the first question."""
    dialogue: Names = ("Dialogue",)
    """Headings after which the spoken part starts."""
    advice: Names = ("Diagnosis and suggestions",)
    """Headings of the sections that are the doctor's written conclusion, taken as said where they stand."""


class PreferenceLayout(_Layout):
    """A prompt, the better answer and the worse one; or several answers, best first."""

    layout: Literal["preference"] = "preference"
    prompt: Names = ("question",)
    """Fields whose non-empty values make the prompt; not used where `messages` is given."""
    system: str | None = None
    history: str | None = None
    """Field with earlier rounds as a list of [question, answer] pairs."""
    messages: TurnsLayout | None = None
    """How the prompt is laid out where it is a list of messages."""
    chosen: str = "response_chosen"
    """A string, a message, or a list of messages whose last one is the answer."""
    rejected: str = "response_rejected"
    ranked: Names = ()
    """In place of `chosen` and `rejected`: a field with a list of answers, or a field an answer, best first;
    each answer is paired with every worse one."""


class MultipleChoiceLayout(_Layout):
    """An exam question with options: an exam item, or a conversation where the source's kind says so."""

    layout: Literal["multiple_choice"] = "multiple_choice"
    question: Names = ("question",)
    context: Names = ()
    """Fields set before the question: a case, a passage."""
    options: Names = ("options",)
    """A field with an object of label and text or with a list of texts; or a field an option."""
    choices: Names = ()
    """The options themselves, where every record has the same ones (yes, no, maybe)."""
    answer: str = "answer"
    answer_is: Literal["label", "text", "index_from_0", "index_from_1"] = "label"
    """`label` also takes several letters in one string (`ACD`)."""
    explanation: str | None = None
    subject: str | None = None


class Task(StrEnum):
    """What an annotated record is an example of."""

    CLASSIFICATION = "classification"
    ENTITIES = "entities"
    RELATIONS = "relations"


class TaskLayout(_Layout):
    """An annotated record turned into an instruction with its answer."""

    layout: Literal["task"] = "task"
    task: Task
    text: Names = ("text",)
    labels: str = "label"
    """Field of the annotation: a label or a list of them; entities; a list of relations.

    Entities are a list, an object of mentions by type, or BIO tags (`O B-Symptom I-Symptom`, in a string or
    in a list), one for each character of the text, which then is one field.
    """
    label_names: dict[str, str] = {}
    """Readable name of a published label."""
    entity: str = "entity"
    """Field of the mention where an entity is an object; a pair is [mention, type].

    An object without it has the mention's first and last character, counted from 0, in `start_idx` and
    `end_idx` (CBLUE).
    """
    entity_type: str = "type"
    subject: str = "subject"
    """Fields of a relation that is an object; a list is [subject, predicate, object].

    In `{"@value": "…", "place": "…"}` the other members stay beside the value as `place: …`.
    """
    predicate: str = "predicate"
    object: str = "object"
    instruction: str | None = None
    """What is asked, above the text; the task's own sentence in the record's language if unset."""


Layout = Annotated[
    TextLayout
    | ArticleLayout
    | FieldsLayout
    | TriplesLayout
    | QuestionAnswerLayout
    | TurnsLayout
    | TranscriptLayout
    | PreferenceLayout
    | MultipleChoiceLayout
    | TaskLayout,
    Field(discriminator="layout"),
]

KINDS: dict[type[_Layout], tuple[Kind, ...]] = {
    TextLayout: (Kind.DOCUMENT,),
    ArticleLayout: (Kind.DOCUMENT,),
    FieldsLayout: (Kind.DOCUMENT,),
    TriplesLayout: (Kind.DOCUMENT,),
    QuestionAnswerLayout: (Kind.CONVERSATION,),
    TurnsLayout: (Kind.CONVERSATION,),
    TranscriptLayout: (Kind.CONVERSATION,),
    TaskLayout: (Kind.CONVERSATION,),
    PreferenceLayout: (Kind.PREFERENCE,),
    MultipleChoiceLayout: (Kind.EXAM_ITEM, Kind.CONVERSATION),
}
"""Kinds of record that each layout can give."""
