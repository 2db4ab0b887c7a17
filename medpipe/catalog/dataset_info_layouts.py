"""How the records of a `dataset_info.json` data set are laid out.

| formatting | with | layout |
| --- | --- | --- |
| `alpaca` | `response` | question and answer: `prompt` and `response` must be non-empty strings, `query` is |
| | | appended to `prompt` after a line break |
| `alpaca` | no `response` | text: the `prompt` column |
| `alpaca` | `ranking` | preference: `chosen` and `rejected`; without them `response`, a list, best first |
| `sharegpt`, `openai` | | turns |
| `sharegpt`, `openai` | `ranking` | preference with a prompt of messages |

With `kto_tag` only records that it calls desirable are kept. Tool descriptions are no text of the
conversation and are left out, as are images, videos and sounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medpipe.catalog.dataset_info_model import Columns, DatasetInfo
from medpipe.catalog.explain import Finding
from medpipe.catalog.source import Use


def layout_of(info: DatasetInfo) -> dict[str, Any]:
    """The layout, as the fields of one of `layouts`."""
    if info.formatting != "alpaca":
        return _ranked_turns(info) if info.ranking else _turns(info, desirable=info.columns.kto_tag)
    columns = info.columns
    question = [name for name in (columns.prompt, columns.query) if name]
    if info.ranking:
        answers: dict[str, Any] = {"chosen": columns.chosen, "rejected": columns.rejected}
        if columns.chosen is None:
            answers = {"ranked": [columns.response]}
        return {"layout": "preference", "prompt": question, **_context(columns), **answers}
    if columns.response is None:
        return {"layout": "text", "text": columns.prompt}
    return {
        "layout": "question_answer",
        "question": question,
        "answer": [columns.response],
        "required": [columns.prompt, columns.response],
        "desirable": columns.kto_tag,
        **_context(columns),
    }


def uses_of(info: DatasetInfo) -> tuple[Use, ...]:
    """What the records are good for by their layout, where the registry does not say it."""
    if info.medpipe.uses is not None:
        return info.medpipe.uses
    match layout_of(info)["layout"]:
        case "preference":
            return (Use.REWARD,)
        case "text":
            return (Use.PRETRAINING,)
        case _:
            return (Use.FINETUNING, Use.PRETRAINING)


def left_out(info: DatasetInfo) -> list[str]:
    """Columns that give no text, each in words for a person."""
    columns = info.columns
    media = [name for name in ("images", "videos", "audios") if getattr(columns, name)]
    notes = []
    if media:
        notes.append(f"only the text is used: {', '.join(media)} are left out")
    if columns.tools:
        notes.append("tool descriptions are left out")
    if columns.query and layout_of(info)["layout"] == "text":
        notes.append(f"only the column '{columns.prompt}' is read, because there is no 'response'")
    return notes


def missing_names(info: DatasetInfo) -> Iterator[Finding]:
    """What the loader could not do without in this data set."""
    columns = info.columns
    given = "is given, and then nothing else has a default; add"
    if info.formatting == "alpaca":
        if columns.prompt is None:
            yield Finding(("columns",), f"'columns' {given} \"prompt\"")
        if columns.kto_tag and columns.response is None:
            yield Finding(("columns", "kto_tag"), "'kto_tag' judges an answer; add \"response\"")
        if info.ranking and not (columns.chosen or columns.rejected or columns.response):
            yield Finding(("ranking",), "'ranking' needs \"chosen\" and \"rejected\" in 'columns'")
    else:
        if columns.messages is None:
            yield Finding(("columns",), f"'columns' {given} \"messages\"")
        for tag in ("role_tag", "content_tag", "user_tag", "assistant_tag"):
            if getattr(info.tags, tag) is None:
                yield Finding(("tags",), f"'tags' {given} \"{tag}\"")
        if info.ranking and not (columns.chosen or columns.rejected):
            yield Finding(("ranking",), "'ranking' needs \"chosen\" and \"rejected\" in 'columns'")
    if (columns.chosen is None) != (columns.rejected is None):
        one, other = ("chosen", "rejected") if columns.chosen else ("rejected", "chosen")
        yield Finding(("columns", one), f"'{one}' needs its counterpart; add \"{other}\"")


def _context(columns: Columns) -> dict[str, Any]:
    return {"history": columns.history, "system": columns.system}


def _turns(info: DatasetInfo, *, desirable: str | None) -> dict[str, Any]:
    tags = info.tags

    def names(tag: str | None) -> list[str]:
        return [tag] if tag else []

    return {
        "layout": "turns",
        "turns": info.columns.messages,
        "role": tags.role_tag,
        "content": tags.content_tag,
        "user": names(tags.user_tag),
        "assistant": names(tags.assistant_tag),
        "system": names(tags.system_tag),
        "function": names(tags.function_tag),
        "observation": names(tags.observation_tag),
        "system_field": info.columns.system,
        "desirable": desirable,
    }


def _ranked_turns(info: DatasetInfo) -> dict[str, Any]:
    return {
        "layout": "preference",
        "messages": _turns(info, desirable=None),
        "chosen": info.columns.chosen,
        "rejected": info.columns.rejected,
    }
