"""Annotated records turned into instructions: classification, entities, relations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from medpipe.catalog.layouts import Task, TaskLayout
from medpipe.normalize.extracted import Batch, UnusableRowError
from medpipe.normalize.layouts.annotations import as_annotations, entity_pairs, members
from medpipe.normalize.layouts.conversation import ASSISTANT, USER, FlatTurns, conversations
from medpipe.normalize.layouts.pool import TextPool
from medpipe.normalize.layouts.values import joined_strings, lines, list_value, read_strings
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
    无 or `none`; a null annotation is none at all and rejected (`empty_answer`), as are an empty class and
    annotations of which every one lacks a part.
    """
    pool = TextPool()
    found: dict[int, tuple[list[int], str]] = {}
    for position in range(len(batch.values)):
        row = batch.expect_object(position)
        try:
            if layout.labels not in row:
                raise UnusableRowError("missing_field", f"no field '{layout.labels}'")
            # Spans and tags count the characters of one field.
            text = row.get(layout.text[0]) if len(layout.text) == 1 else None
            answer = _ANSWERS[layout.task](row[layout.labels], text, layout, language)
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


def _colon(language: Language) -> str:
    return "：" if language is Language.ZH else ": "


def _nothing(language: Language) -> str:
    return "无" if language is Language.ZH else "none"


def _name(value: Any, layout: TaskLayout, language: Language) -> str:
    """Readable name of a published label."""
    label = joined_strings(value, language).strip()
    return layout.label_names.get(label, label)


def _class_answer(value: Any, text: Any, layout: TaskLayout, language: Language) -> str:
    items = list_value(value)
    names = [_name(item, layout, language) for item in ([value] if items is None else items)]
    return _listed(list(dict.fromkeys(name for name in names if name)), language)


def _entities_answer(value: Any, text: Any, layout: TaskLayout, language: Language) -> str:
    """A line for each type, `type：mention、mention`, in the order in which they first occur."""
    if value is None or value == "":
        return ""
    pairs = entity_pairs(value, text, layout)
    mentions: dict[str, dict[str, None]] = {}
    for mention, kind in pairs:
        words = joined_strings(mention, language).strip()
        if words:
            mentions.setdefault(_name(kind, layout, language), {})[words] = None
    colon = _colon(language)
    lines = [
        f"{kind}{colon}{_listed(list(texts), language)}" if kind else _listed(list(texts), language)
        for kind, texts in mentions.items()
    ]
    return _answer(lines, language, annotated=bool(pairs))


def _relations_answer(value: Any, text: Any, layout: TaskLayout, language: Language) -> str:
    """A line for each statement, `（subject，predicate，object）`; what qualifies a thing follows it."""
    if value is None or value == "":
        return ""
    names = (layout.subject, layout.predicate, layout.object)
    items = as_annotations(value)
    lines: dict[str, None] = {}
    for item in items:
        subject, predicate, thing = members(item, names, "a relation")
        said, *beside = _parts(thing, layout, language)
        who, *about = _parts(subject, layout, language)
        name = _name(predicate, layout, language)
        if who and name and said:
            parts = [who, *about, name, said, *beside]
            line = "（" + "，".join(parts) + "）" if language is Language.ZH else f"({', '.join(parts)})"
            lines[line] = None
    return _answer(list(lines), language, annotated=bool(items))


def _parts(value: Any, layout: TaskLayout, language: Language) -> list[str]:
    """A thing, which may be empty, and what stands beside the `@value` of one that is an object (DuIE)."""
    if type(value) is not dict or "@value" not in value:
        return [joined_strings(value, language).strip()]
    beside = [
        f"{_name(name, layout, language)}{_colon(language)}{text}"
        for name, member in value.items()
        if name != "@value" and (text := joined_strings(member, language).strip())
    ]
    return [joined_strings(value["@value"], language).strip(), *beside]


def _answer(lines: Sequence[str], language: Language, *, annotated: bool) -> str:
    """The lines; that there is nothing may be said only where nobody annotated anything."""
    if annotated and not lines:
        raise UnusableRowError("empty_answer", "every annotation lacks a part")
    return "\n".join(lines) or _nothing(language)


_ANSWERS: dict[Task, Callable[[Any, Any, TaskLayout, Language], str]] = {
    Task.CLASSIFICATION: _class_answer,
    Task.ENTITIES: _entities_answer,
    Task.RELATIONS: _relations_answer,
}
