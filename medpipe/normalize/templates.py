"""Conversations as one text for pretraining."""

from __future__ import annotations

import polars as pl

from medpipe.catalog.source import Template

_SPEAKERS = {
    "user": "[User] ",
    "assistant": "[Assistant] ",
    "function": "[Function] ",
    "observation": "[Observation] ",
}


def render_conversations(frame: pl.LazyFrame, template: Template | None) -> pl.LazyFrame:
    """Adds a column `text` to conversations.

    A, `[QUESTION] … [ANSWER] …`, and B, `Instruction: …` above `Output: …`, can hold one question and one
    answer; any other conversation is written as C: `[User] …` and `[Assistant] …`, a line each turn, and
    `[Function] …` and `[Observation] …` where a tool was used. The system prompt is no part of the text: it
    is seldom about medicine and the same for a whole source.

    Args:
        frame: with a column `turns` of `List(Struct(role, content))`.
        template: the source's setting; None is A for a single question and C for more turns.
    """
    turns = pl.col("turns")
    dialogue = turns.list.eval(
        pl.concat_str(
            pl.element().struct.field("role").replace_strict(_SPEAKERS),
            pl.element().struct.field("content"),
        )
    ).list.join("\n")
    if template is Template.C:
        return frame.with_columns(text=dialogue)
    first, second = (turns.list.get(position, null_on_oob=True).struct for position in (0, 1))
    one_round = (
        (turns.list.len() == 2) & (first.field("role") == "user") & (second.field("role") == "assistant")
    )
    before, between = (
        ("Instruction: ", "\nOutput: ") if template is Template.B else ("[QUESTION] ", " [ANSWER] ")
    )
    single = pl.concat_str(pl.lit(before), first.field("content"), pl.lit(between), second.field("content"))
    return frame.with_columns(text=pl.when(one_round).then(single).otherwise(dialogue))
