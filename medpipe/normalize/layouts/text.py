"""Plain text: a string a record, or an object with a text field."""

from __future__ import annotations

from typing import Any

import polars as pl

from medpipe.catalog.layouts import TextLayout
from medpipe.normalize.clean import clean_column
from medpipe.normalize.extracted import Batch, type_name


def read_text(batch: Batch, layout: TextLayout) -> pl.DataFrame:
    """Documents: the text, below its title where the layout names one and the text does not repeat it."""
    positions: list[int] = []
    texts: list[str] = []
    titles: list[str | None] = []
    for position, value in enumerate(batch.values):
        text = _text_of(batch, position, value, layout)
        if text is None:
            continue
        title = value.get(layout.title) if layout.title and type(value) is dict else None
        positions.append(position)
        texts.append(text)
        titles.append(title if type(title) is str else None)
    frame = pl.DataFrame(
        {
            "position": pl.Series(positions, dtype=pl.Int64),
            "text": clean_column(pl.Series(texts, dtype=pl.String)),
            "title": clean_column(pl.Series(titles, dtype=pl.String)),
        }
    )
    batch.reject_all(frame.filter(pl.col("text") == "")["position"], "empty_text")
    untitled = pl.col("title").fill_null("").eq("") | pl.col("text").str.starts_with(pl.col("title"))
    titled = pl.concat_str("title", pl.lit("\n"), "text")
    return batch.kept(frame.select("position", text=pl.when(untitled).then(pl.col("text")).otherwise(titled)))


def _text_of(batch: Batch, position: int, value: Any, layout: TextLayout) -> str | None:
    """The raw text of a row, or None with the row rejected."""
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is str:
        return value
    if type(value) is not dict:
        batch.reject(position, "unexpected_type", f"expected an object or a string, got {type_name(value)}")
        return None
    if layout.text not in value:
        batch.reject(position, "missing_field", f"no field '{layout.text}'")
        return None
    text = value[layout.text]
    if text is None:
        batch.reject(position, "empty_text", f"field '{layout.text}' is null")
        return None
    if type(text) is not str:
        batch.reject(
            position, "unexpected_type", f"field '{layout.text}': expected a string, got {type_name(text)}"
        )
        return None
    return text
