"""Annotated records turned into instructions: classification, entities, relations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from medpipe.catalog.layouts import Task, TaskLayout
from medpipe.normalize.extracted import Batch, UnusableRowError, type_name
from medpipe.normalize.layouts.conversation import ASSISTANT, USER, FlatTurns, conversations
from medpipe.normalize.layouts.pool import TextPool
from medpipe.normalize.layouts.values import (
    UnexpectedTypeError,
    joined_strings,
    lines,
    list_value,
    read_strings,
)
from medpipe.records.kinds import Language

_ZH = {
    Task.CLASSIFICATION: ("请判断下面文本的类别。", "请判断下面文本的类别，只从以下类别中选择：{names}。"),
    Task.ENTITIES: (
        "请找出下面文本中的实体，按类型分行列出；没有则回答“无”。",
        "请找出下面文本中的实体，类型限于：{names}。按类型分行列出；没有则回答“无”。",
    ),
    Task.RELATIONS: (
        "请找出下面文本中的关系，每行写一个三元组（主体，关系，客体）；没有则回答“无”。",
        "请找出下面文本中的关系，关系限于：{names}。每行写一个三元组（主体，关系，客体）；没有则回答“无”。",
    ),
}
_EN = {
    Task.CLASSIFICATION: (
        "Which category does the following text belong to?",
        "Which category does the following text belong to? Choose from: {names}.",
    ),
    Task.ENTITIES: (
        "List the entities in the following text, one line for each type. Answer 'none' if there are none.",
        "List the entities in the following text, one line for each type. The types are: {names}. "
        "Answer 'none' if there are none.",
    ),
    Task.RELATIONS: (
        "List the relations in the following text, each on a line of its own as (subject, relation, object). "
        "Answer 'none' if there are none.",
        "List the relations in the following text, each on a line of its own as (subject, relation, object). "
        "The relations are: {names}. Answer 'none' if there are none.",
    ),
}


def read_task(batch: Batch, layout: TaskLayout, language: Language) -> pl.DataFrame:
    """Conversations: the instruction with the text below it, and the annotation as the answer.

    A text in which nobody found an entity or a relation (an empty list) is a real example and answered with
    无 or `none`; a null annotation is none at all and rejected, as is an empty class (`empty_answer`).
    """
    pool = TextPool()
    found: dict[int, tuple[list[int], str]] = {}
    for position in range(len(batch.values)):
        row = batch.expect_object(position)
        try:
            if layout.labels not in row:
                raise UnusableRowError("missing_field", f"no field '{layout.labels}'")
            answer = _ANSWERS[layout.task](row[layout.labels], layout, language)
            found[position] = [pool.add(text) for text in read_strings(row, layout.text, lines)], answer
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
    cleaned = pool.cleaned()
    instruction = layout.instruction or _default_instruction(layout, language)
    turns = FlatTurns()
    for position, (numbers, answer) in found.items():
        texts = [cleaned[number] for number in numbers if cleaned[number]]
        if not texts:
            batch.reject(position, "empty_question", "there is no text")
        elif not answer:
            batch.reject(position, "empty_answer", f"field '{layout.labels}' is empty")
        else:
            turns.add(position, USER, "\n".join([instruction, *texts]))
            turns.add(position, ASSISTANT, answer)
    return conversations(batch, turns)


def _default_instruction(layout: TaskLayout, language: Language) -> str:
    plain, with_names = (_ZH if language is Language.ZH else _EN)[layout.task]
    names = list(dict.fromkeys(layout.label_names.values()))
    return with_names.format(names=_listed(names, language)) if names else plain


def _listed(items: Sequence[str], language: Language) -> str:
    return ("、" if language is Language.ZH else ", ").join(items)


def _nothing(language: Language) -> str:
    return "无" if language is Language.ZH else "none"


def _name(value: Any, layout: TaskLayout, language: Language) -> str:
    """Readable name of a published label."""
    label = joined_strings(value, language).strip()
    return layout.label_names.get(label, label)


def _members(value: Any, names: Sequence[str], what: str) -> list[Any]:
    """The named members of an annotation that is an object, or its items if it is a list of as many."""
    if type(value) is dict:
        for name in names:
            if name not in value:
                raise UnexpectedTypeError(f"{what} has no field '{name}'")
        return [_plain(value[name]) for name in names]
    if type(value) is list and len(value) == len(names):
        return value
    expected = f"an object or a list of {len(names)}"
    raise UnexpectedTypeError(f"{what}: expected {expected}, got {type_name(value)}")


def _plain(value: Any) -> Any:
    """The value of a member written as `{"@value": …}`."""
    return value["@value"] if type(value) is dict and "@value" in value else value


def _class_answer(value: Any, layout: TaskLayout, language: Language) -> str:
    items = list_value(value)
    names = [_name(item, layout, language) for item in ([value] if items is None else items)]
    return _listed(list(dict.fromkeys(name for name in names if name)), language)


def _entities_answer(value: Any, layout: TaskLayout, language: Language) -> str:
    """A line for each type, `type：mention、mention`, in the order in which they first occur."""
    if value is None or value == "":
        return ""
    if type(value) is dict:
        pairs = [(mention, kind) for kind, mentions in value.items() for mention in _as_list(mentions)]
    else:
        members = (layout.entity, layout.entity_type)
        pairs = [
            (item, None) if type(item) is str else tuple(_members(item, members, "an entity"))
            for item in _as_list(value)
        ]
    mentions: dict[str, dict[str, None]] = {}
    for mention, kind in pairs:
        text = joined_strings(mention, language).strip()
        if text:
            mentions.setdefault(_name(kind, layout, language), {})[text] = None
    colon = "：" if language is Language.ZH else ": "
    lines = [
        f"{kind}{colon}{_listed(list(texts), language)}" if kind else _listed(list(texts), language)
        for kind, texts in mentions.items()
    ]
    return "\n".join(lines) or _nothing(language)


def _relations_answer(value: Any, layout: TaskLayout, language: Language) -> str:
    """A line for each statement, `（subject，predicate，object）`."""
    if value is None or value == "":
        return ""
    names = (layout.subject, layout.predicate, layout.object)
    lines: dict[str, None] = {}
    for item in _as_list(value):
        subject, predicate, thing = _members(item, names, "a relation")
        parts = [
            joined_strings(subject, language).strip(),
            _name(predicate, layout, language),
            joined_strings(thing, language).strip(),
        ]
        if all(parts):
            line = "（" + "，".join(parts) + "）" if language is Language.ZH else f"({', '.join(parts)})"
            lines[line] = None
    return "\n".join(lines) or _nothing(language)


def _as_list(value: Any) -> list[Any]:
    """Annotations; a table's cell may hold the list as text."""
    items = list_value(value)
    if items is None:
        raise UnexpectedTypeError(f"expected a list of annotations, got {type_name(value)}")
    return items


_ANSWERS: dict[Task, Callable[[Any, TaskLayout, Language], str]] = {
    Task.CLASSIFICATION: _class_answer,
    Task.ENTITIES: _entities_answer,
    Task.RELATIONS: _relations_answer,
}
