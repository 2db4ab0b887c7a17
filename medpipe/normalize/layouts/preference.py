"""A prompt with a better and a worse answer."""

from __future__ import annotations

import polars as pl

from medpipe.catalog.layouts import PreferenceLayout
from medpipe.normalize.clean import clean_column
from medpipe.normalize.extracted import Batch
from medpipe.normalize.layouts.conversation import USER
from medpipe.normalize.layouts.values import read_answer, read_question
from medpipe.records.kinds import Language


def read_preference(batch: Batch, layout: PreferenceLayout, language: Language) -> pl.DataFrame:
    """Preferences: rows with an empty part, or with two equal answers, are rejected."""
    found: list[tuple[int, str, str, str]] = []
    for position in range(len(batch.values)):
        row = batch.expect_object(position)
        if row is None:
            continue
        question = read_question(batch, position, row, layout.prompt)
        chosen = read_answer(batch, position, row, layout.chosen, language)
        rejected = read_answer(batch, position, row, layout.rejected, language)
        if question is not None and chosen is not None and rejected is not None:
            found.append((position, question, chosen, rejected))
    columns = ["question", "chosen", "rejected"]
    frame = pl.DataFrame(
        found, schema={"position": pl.Int64} | dict.fromkeys(columns, pl.String), orient="row"
    ).with_columns(pl.col(name).map_batches(clean_column, return_dtype=pl.String) for name in columns)
    batch.reject_all(frame.filter(pl.col("question") == "")["position"], "empty_question")
    for name, field in (("chosen", layout.chosen), ("rejected", layout.rejected)):
        batch.reject_all(frame.filter(pl.col(name) == "")["position"], "empty_answer", f"field '{field}'")
    batch.reject_all(frame.filter(pl.col("chosen") == pl.col("rejected"))["position"], "identical_answers")
    prompt = pl.concat_list(pl.struct(role=pl.lit(USER), content=pl.col("question")))
    return batch.kept(frame.select("position", "chosen", "rejected", prompt=prompt))
