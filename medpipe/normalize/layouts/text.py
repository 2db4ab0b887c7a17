"""Plain text: a string a record, or an object with a text field."""

from __future__ import annotations

from typing import Any

import polars as pl

from medpipe.catalog.layouts import TextLayout
from medpipe.normalize.clean import clean_column
from medpipe.normalize.extracted import Batch, UnusableRowError, as_object, type_name
from medpipe.normalize.layouts.values import said
from medpipe.normalize.wrapped import unwrapped


def read_text(batch: Batch, layout: TextLayout) -> pl.DataFrame:
    """Documents: the text, below its title where the layout names one and the text does not repeat it.

    A record that is a string, or a list of one string, is the text itself. A word for a missing value, such
    as `nan`, is neither a text nor a title. Marks that the layout names are taken out first; lines that were
    broken to a width are put together last.
    """
    positions: list[int] = []
    texts: list[str] = []
    titles: list[str | None] = []
    for position, value in enumerate(batch.values):
        try:
            texts.append(said(_text_of(value, layout.text)))
        except UnusableRowError as error:
            batch.reject(position, error.reason, error.detail)
            continue
        title = value.get(layout.title) if layout.title and type(value) is dict else None
        positions.append(position)
        titles.append(said(title) if type(title) is str else None)
    text = pl.Series(texts, dtype=pl.String)
    for pattern in layout.remove:
        text = _without(text, pattern)
    text = clean_column(text)
    if layout.wrapped_at is not None:
        text = unwrapped(text, width=layout.wrapped_at)
    frame = pl.DataFrame(
        {
            "position": pl.Series(positions, dtype=pl.Int64),
            "text": text,
            "title": clean_column(pl.Series(titles, dtype=pl.String)),
        }
    )
    batch.reject_all(frame.filter(pl.col("text") == "")["position"], "empty_text")
    untitled = pl.col("title").fill_null("").eq("") | pl.col("text").str.starts_with(pl.col("title"))
    titled = pl.concat_str("title", pl.lit("\n"), "text")
    return batch.kept(frame.select("position", text=pl.when(untitled).then(pl.col("text")).otherwise(titled)))


def _without(text: pl.Series, mark: str) -> pl.Series:
    """The texts without what a pattern matches; a space is left where two digits would come together."""
    found = text.str.contains(mark).arg_true()
    if found.is_empty():
        return text
    # A control character stands for the mark until it is known what is around it.
    gone = text.gather(found).str.replace_all("\x1f", "").str.replace_all(mark, "\x1f")
    gone = gone.str.replace_all(r"(\p{N})\x1F+(\p{N})", "${1} ${2}").str.replace_all("\x1f", "", literal=True)
    return text.clone().scatter(found, gone)


def _text_of(value: Any, name: str) -> str:
    """The raw text of a row."""
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is str:
        return value
    row = as_object(value)
    if name not in row:
        if type(value) is not dict:
            raise UnusableRowError(
                "unexpected_type", f"expected an object or a string, got {type_name(value)}"
            )
        raise UnusableRowError("missing_field", f"no field '{name}'")
    text = row[name]
    if text is None:
        raise UnusableRowError("empty_text", f"field '{name}' is null")
    if type(text) is not str:
        raise UnusableRowError("unexpected_type", f"field '{name}': expected a string, got {type_name(text)}")
    return text
