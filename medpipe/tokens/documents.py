"""Reads the documents of one source and domain in bounded batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.records.kinds import Domain

BATCH_ROWS = 2048
"""Most documents that are read at once."""
_COLUMNS = ("id", "lang", "split", "tier", "text")


@dataclass(frozen=True)
class DocumentReader:
    """The documents of a source that belong to a domain, in the order of the corpus."""

    parts: tuple[Path, ...]
    """Parquet files."""
    domain: str

    def batches(self) -> Iterator[pl.DataFrame]:
        """Columns `id`, `lang`, `split`, `tier`, `text`, all String.

        A page of the file at a time: the streaming engine of Polars reads several row groups ahead of a
        slow consumer, the more the longer the file is.
        """
        import pyarrow.parquet as pq

        for part in self.parts:
            with pq.ParquetFile(part, pre_buffer=False) as file:
                columns = [*_COLUMNS, "domain"]
                for arrow in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                    # Column by column: those of a batch that is taken over as a whole live and die together,
                    # so that whoever keeps ids would keep the texts.
                    batch = pl.DataFrame({name: pl.Series(arrow.column(name)) for name in columns})
                    batch = batch.with_columns(pl.exclude("id", "text").cast(pl.String))
                    yield batch.filter(pl.col("domain") == self.domain).select(_COLUMNS)


def documents_of(documents: Dataset, source: str, domain: Domain) -> DocumentReader:
    """The reader of a source's kept documents in `corpus/documents`."""
    return DocumentReader(tuple(documents.files(f"{source}/part-*.parquet")), domain.value)
