"""From a flat list of turns of many rows to conversations."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from medpipe.normalize.clean import clean_column
from medpipe.normalize.extracted import Batch

USER = "user"
ASSISTANT = "assistant"
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

    def cleaned(self) -> pl.DataFrame:
        """Columns `position`, `role`, `content`, with cleaned contents that may be empty."""
        return pl.DataFrame(
            {
                "position": pl.Series(self.positions, dtype=pl.Int64),
                "role": pl.Series(self.roles, dtype=pl.String),
                "content": clean_column(pl.Series(self.contents, dtype=pl.String)),
            }
        )


def conversations(batch: Batch, flat: pl.DataFrame) -> pl.DataFrame:
    """Conversations from cleaned turns, in the order of the rows.

    Empty turns are dropped, what one speaker says in a row becomes one turn with line breaks, system turns
    become the system prompt. A row must hold a question before its first answer (else `no_question`) and
    an answer (else `no_answer`); a question at the end that nobody answered stays.
    """
    flat = flat.filter(pl.col("content") != "")
    system = (
        flat.filter(pl.col("role") == SYSTEM)
        .group_by("position", maintain_order=True)
        .agg(system=pl.col("content").str.join("\n"))
    )
    spoken = (
        flat.filter(pl.col("role") != SYSTEM)
        .with_columns(utterance=pl.struct("position", "role").rle_id())
        .group_by("utterance", maintain_order=True)
        .agg(pl.col("position", "role").first(), pl.col("content").str.join("\n"))
    )
    talks = spoken.group_by("position", maintain_order=True).agg(turns=pl.struct("role", "content"))
    roles = pl.col("turns").list.eval(pl.element().struct.field("role"))
    talks = talks.with_columns(first=roles.list.first(), answered=roles.list.contains(ASSISTANT))
    everyone = pl.DataFrame({"position": pl.int_range(len(batch.values), dtype=pl.Int64, eager=True)})
    talks = everyone.join(talks, on="position", how="left", maintain_order="left").join(
        system, on="position", how="left", maintain_order="left"
    )
    batch.reject_all(talks.filter(pl.col("first").ne_missing(USER))["position"], "no_question")
    batch.reject_all(talks.filter(pl.col("answered").not_())["position"], "no_answer")
    return batch.kept(talks.select("position", "system", "turns"))
