"""Text whose lines were broken to a width: its paragraphs put together again."""

from __future__ import annotations

import polars as pl

_WRITTEN_WITHOUT_SPACES = r"[\x{2E80}-\x{9FFF}\x{F900}-\x{FAFF}\x{FF00}-\x{FFEF}\x{20000}-\x{3FFFF}]"
"""Han and kana with their punctuation, and full-width forms."""


def unwrapped(column: pl.Series, *, width: int) -> pl.Series:
    """Joins lines that were broken to a width; a shorter one, or one before an empty or indented line, ends.

    Where Chinese stands on either side of the break, or a hyphen before it, nothing comes between; elsewhere
    a space.

    Args:
        column: String, without blanks at the ends of lines; nulls stay null.
        width: characters; a line of at least so many goes on in the next one.
    """
    texts = column.rename("text").to_frame().with_row_index("position")
    line, following = pl.col("line"), pl.col("line").shift(-1).over("position")
    goes_on = (line.str.len_chars() >= width) & following.str.contains(r"^\S")
    adjoins = line.str.contains(rf"(?:{_WRITTEN_WITHOUT_SPACES}|\w-)$") | following.str.contains(
        rf"^{_WRITTEN_WITHOUT_SPACES}"
    )
    glue = (
        pl.when(following.is_null())
        .then(pl.lit(""))
        .when(goes_on.not_())
        .then(pl.lit("\n"))
        .when(adjoins)
        .then(pl.lit(""))
        .otherwise(pl.lit(" "))
    )
    joined = (
        texts.with_columns(line=pl.col("text").str.split("\n"))
        .explode("line")
        .with_columns(piece=pl.concat_str("line", glue))
        .group_by("position", maintain_order=True)
        .agg(pl.col("piece").str.join(""), pl.col("text").first())
    )
    return (
        joined.select(pl.when(pl.col("text").is_not_null()).then(pl.col("piece")))
        .to_series()
        .alias(column.name)
    )
