"""A prompt with a better and a worse answer, or with several answers, best first."""

from __future__ import annotations

import polars as pl

from medpipe.catalog.layouts import PreferenceLayout
from medpipe.normalize.clean import clean_column
from medpipe.normalize.extracted import Batch, UnusableRowError
from medpipe.normalize.layouts.conversation import ASSISTANT, FUNCTION, USER, FlatTurns
from medpipe.normalize.layouts.preference_row import PreferenceReader
from medpipe.records.kinds import Language


def read_preference(batch: Batch, layout: PreferenceLayout, language: Language) -> pl.DataFrame:
    """Preferences: one of a row with two answers, one for each better and worse answer of a ranked list.

    A row whose prompt or answer is empty, or whose answers are equal, is rejected. Of ranked answers the
    empty ones and those that repeat a better one are left out; with fewer than two left the row is rejected.
    """
    reader = PreferenceReader(layout, language)
    prompts, positions, ranks, contents = FlatTurns(), [], [], []
    for position in range(len(batch.values)):
        try:
            row = reader.read(batch.expect_object(position))
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
            continue
        for role, content in row.prompt:
            prompts.add(position, role, content)
        for rank, content in enumerate(row.answers):
            positions.append(position)
            ranks.append(rank)
            contents.append(content)
    answers = pl.DataFrame(
        {
            "position": pl.Series(positions, dtype=pl.Int64),
            "rank": pl.Series(ranks, dtype=pl.Int32),
            "content": clean_column(pl.Series(contents, dtype=pl.String)),
        }
    )
    talks = _prompts(batch, prompts, layout)
    pairs = _pairs(batch, answers, layout)
    return batch.kept(pairs.join(talks, on="position", how="inner", maintain_order="left"))


def _prompts(batch: Batch, prompts: FlatTurns, layout: PreferenceLayout) -> pl.DataFrame:
    """Columns `position`, `system`, `prompt`; a prompt starts with a question and ends unanswered."""
    talks = prompts.talks(len(batch.values))
    silent = talks.filter(pl.col("turns").is_null())["position"]
    batch.reject_all(silent, "empty_question" if layout.messages is None else "no_question")
    batch.reject_all(talks.filter(pl.col("first") != USER)["position"], "no_question")
    answered = talks.filter(pl.col("last").is_in([ASSISTANT, FUNCTION]))["position"]
    batch.reject_all(answered, "no_question", "the prompt ends with an answer")
    return talks.select("position", "system", prompt="turns")


def _pairs(batch: Batch, answers: pl.DataFrame, layout: PreferenceLayout) -> pl.DataFrame:
    """Columns `position`, `chosen`, `rejected`: every answer with every worse one."""
    if not layout.ranked:
        for rank, name in enumerate((layout.chosen, layout.rejected)):
            empty = answers.filter((pl.col("rank") == rank) & (pl.col("content") == ""))
            batch.reject_all(empty["position"], "empty_answer", f"field '{name}'")
    distinct = answers.filter(pl.col("content") != "").unique(
        ["position", "content"], keep="first", maintain_order=True
    )
    enough = set(distinct.group_by("position").len().filter(pl.col("len") > 1)["position"])
    for position in range(len(batch.values)):
        if position not in enough:
            batch.reject(position, "single_answer" if layout.ranked else "identical_answers")
    return (
        distinct.join(distinct, on="position", suffix="_worse")
        .filter(pl.col("rank") < pl.col("rank_worse"))
        .sort("position", "rank", "rank_worse")
        .select("position", chosen="content", rejected="content_worse")
    )
