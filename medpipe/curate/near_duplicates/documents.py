"""The texts to compare, as a frame or as batches that are read anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

BATCH_ROWS = 4096

Documents = pl.LazyFrame | Callable[[], Iterator[pl.DataFrame]]
"""Columns `text` (String) and `lang`: a frame, or what starts reading its batches in order."""


def document_batches(documents: Documents) -> Iterator[pl.DataFrame]:
    """Columns `text` and `lang`, batch by batch."""
    if isinstance(documents, pl.LazyFrame):
        yield from documents.select("text", "lang").collect_batches(
            chunk_size=BATCH_ROWS, maintain_order=True
        )
    else:
        for batch in documents():
            yield batch.select("text", "lang")
