"""From a flat list of turns of many rows to conversations."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from medpipe.normalize.clean import clean_column
from medpipe.normalize.extracted import Batch

USER = "user"
ASSISTANT = "assistant"
FUNCTION = "function"
OBSERVATION = "observation"
SYSTEM = "system"


@dataclass
class FlatTurns:
    """Turns of many rows, one after the other."""

    positions: list[int] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)

    def add(self, position: int, role: str, content: str) -> None:
        """Appends a turn of the row at a position of the batch."""
        self.positions.append(position)
        self.roles.append(role)
        self.contents.append(content)

    def talks(self, height: int) -> pl.DataFrame:
        """A talk for each of so many rows: `position`, `system`, `turns`, and the roles that make it whole.

        Texts are cleaned and empty turns dropped, what one speaker says in a row becomes one turn with line
        breaks, system turns become the system prompt. `first` and `last` are the roles of the first and the
        last turn, `answered` tells whether the assistant says anything; they and `turns` are null for a row
        without turns.
        """
        flat = pl.DataFrame(
            {
                "position": pl.Series(self.positions, dtype=pl.Int64),
                "role": pl.Series(self.roles, dtype=pl.String),
                "content": clean_column(pl.Series(self.contents, dtype=pl.String)),
            }
        ).filter(pl.col("content") != "")
        system = (
            flat.filter(pl.col("role") == SYSTEM)
            .group_by("position", maintain_order=True)
            .agg(system=pl.col("content").unique(maintain_order=True).str.join("\n"))
        )
        spoken = (
            flat.filter(pl.col("role") != SYSTEM)
            .with_columns(utterance=pl.struct("position", "role").rle_id())
            .group_by("utterance", maintain_order=True)
            .agg(pl.col("position", "role").first(), pl.col("content").str.join("\n"))
        )
        talks = spoken.group_by("position", maintain_order=True).agg(
            turns=pl.struct("role", "content"),
            first=pl.col("role").first(),
            last=pl.col("role").last(),
            answered=(pl.col("role") == ASSISTANT).any(),
        )
        everyone = pl.DataFrame({"position": pl.int_range(height, dtype=pl.Int64, eager=True)})
        return everyone.join(system, on="position", how="left", maintain_order="left").join(
            talks, on="position", how="left", maintain_order="left"
        )


def conversations(batch: Batch, turns: FlatTurns) -> pl.DataFrame:
    """Conversations from the turns of a batch, in the order of its rows.

    A row must hold a question before its first answer (else `no_question`) and an answer (else `no_answer`);
    a question at the end that nobody answered stays.
    """
    talks = turns.talks(len(batch.values))
    batch.reject_all(talks.filter(pl.col("first").ne_missing(USER))["position"], "no_question")
    batch.reject_all(talks.filter(pl.col("answered").not_())["position"], "no_answer")
    return batch.kept(talks.select("position", "system", "turns"))
