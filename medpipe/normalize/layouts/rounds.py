"""Rounds of question and answer of many rows: the common case, so their text is worked on by the column."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from medpipe.normalize.clean import clean_column
from medpipe.normalize.extracted import Batch
from medpipe.normalize.layouts.conversation import ASSISTANT, USER
from medpipe.normalize.layouts.markers import strip_markers

_NO_DETAIL = ("", "无", "无。", "无输入", "<noinput>", "暂无", "同上", "如题")
"""What one field of a question holds where another says it all."""


class Rounds:
    """Rounds of many rows, one after the other; a question and an answer may lie in several fields each."""

    def __init__(self, *, question_fields: int, answer_fields: int, markers: Sequence[str]) -> None:
        self._question_fields = question_fields
        self._answer_fields = answer_fields
        self._markers = markers
        self._positions: list[int] = []
        self._questions: list[Sequence[str]] = []
        self._answers: list[Sequence[str]] = []
        self._optional: list[bool] = []
        self._preambles: list[tuple[int, str, str]] = []

    def add_preamble(self, position: int, system: str, context: str) -> None:
        """Sets what stands before the rounds of a row: its system prompt, and a case or passage."""
        self._preambles.append((position, system, context))

    def add(self, position: int, question: Sequence[str], answer: Sequence[str], *, optional: bool) -> None:
        """Appends a round of the row at a position of the batch.

        Args:
            position: of the row.
            question: values of the first fields of a question, empty where there is none.
            answer: the same of the answer.
            optional: whether the round may be without any text, and is left out then.
        """
        self._positions.append(position)
        self._questions.append(question)
        self._answers.append(answer)
        self._optional.append(optional)

    def conversations(self, batch: Batch) -> pl.DataFrame:
        """Conversations in the order of the rows.

        A row without rounds is rejected as `no_question`, one with an empty question or answer as
        `empty_question` or `empty_answer`.
        """
        frame = self._frame()
        for position in set(range(len(batch.values))).difference(frame["position"]):
            batch.reject(position, "no_question", "every round is empty")
        batch.reject_all(frame.filter(pl.col("question") == "")["position"], "empty_question")
        batch.reject_all(frame.filter(pl.col("answer") == "")["position"], "empty_answer")
        frame = self._with_preambles(frame).with_row_index("round")
        sides = [
            frame.select("round", "position", "system", role=pl.lit(role), content=content)
            for role, content in ((USER, "question"), (ASSISTANT, "answer"))
        ]
        talks = (
            pl.concat(sides)
            .sort("round", maintain_order=True)
            .group_by("position", maintain_order=True)
            .agg(pl.col("system").first(), turns=pl.struct("role", "content"))
        )
        return batch.kept(talks)

    def _frame(self) -> pl.DataFrame:
        """Columns `position`, `question`, `answer`, cleaned, without optional rounds that are empty."""
        frame = pl.DataFrame(
            {
                "position": pl.Series(self._positions, dtype=pl.Int64),
                "question": self._joined(self._questions, self._question_fields, _NO_DETAIL),
                "answer": self._joined(self._answers, self._answer_fields, ("",)),
            }
        )
        if any(self._optional):
            silent = (pl.col("question") == "") & (pl.col("answer") == "")
            frame = frame.filter((silent & pl.Series(self._optional)).not_())
        return frame

    def _joined(self, rows: list[Sequence[str]], fields: int, says_nothing: Sequence[str]) -> pl.Series:
        """Fields cleaned, without markers, and joined by line breaks."""
        # An earlier round has one value where the row's own round may have several.
        columns = [[row[field] if field < len(row) else "" for row in rows] for field in range(fields)]
        parts = [
            strip_markers(clean_column(pl.Series(str(field), column, dtype=pl.String)), self._markers)
            for field, column in enumerate(columns)
        ]
        if fields == 1:
            return parts[0]
        said = [pl.when(pl.col(part.name).is_in(says_nothing).not_()).then(part.name) for part in parts]
        return pl.DataFrame(parts).select(pl.concat_str(said, separator="\n", ignore_nulls=True)).to_series()

    def _with_preambles(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Adds `system`, and sets each row's context before its first question."""
        if not self._preambles:
            return frame.with_columns(system=pl.lit(None, dtype=pl.String))
        schema = {"position": pl.Int64, "system": pl.String, "context": pl.String}
        preambles = pl.DataFrame(self._preambles, schema=schema, orient="row").select(
            "position",
            pl.col("system", "context").map_batches(clean_column, return_dtype=pl.String).replace("", None),
        )
        context = pl.when(pl.col("position").is_first_distinct()).then("context")
        return frame.join(preambles, on="position", how="left", maintain_order="left").with_columns(
            question=pl.concat_str(context, "question", separator="\n", ignore_nulls=True)
        )
