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
SAMPLE_ROWS = 256
"""Most documents that are sampled from one place."""
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

    def sample(self, *, places: int, size: int) -> list[str]:
        """Beginnings of some texts, from places spread over the source; at least one if it has any text.

        Args:
            places: row groups that are looked into, at most.
            size: UTF-8 bytes of text, about.

        Returns:
            From each place some texts, each cut so that a long one leaves room for others.
        """
        import pyarrow.parquet as pq

        groups: list[tuple[Path, int]] = []
        for part in self.parts:
            with pq.ParquetFile(part, pre_buffer=False) as file:
                groups += [(part, number) for number in range(file.num_row_groups)]
        chosen = sorted({len(groups) * place // places for place in range(places)}) if groups else []
        found: list[str] = []
        for part, number in (groups[place] for place in chosen):
            with pq.ParquetFile(part, pre_buffer=False) as file:
                rows = next(
                    file.iter_batches(SAMPLE_ROWS, row_groups=[number], columns=["domain", "text"]), None
                )
            if rows is not None:
                found += _beginnings(pl.DataFrame(rows), self.domain, size=size // len(chosen))
        if found:
            return found
        # A domain that is rare in its source: none of its documents stands at the beginning of a row group.
        first = next((batch for batch in self.batches() if batch.height), None)
        if first is None:
            return []
        named = first.select("text", domain=pl.lit(self.domain))
        return _beginnings(named, self.domain, size=size)


def _beginnings(rows: pl.DataFrame, domain: str, *, size: int) -> list[str]:
    own = rows.filter(pl.col("domain").cast(pl.String) == domain)
    texts = own.select(pl.col("text").str.head(max(1, size // 12))).to_series()
    before = texts.str.len_bytes().cum_sum().shift(1, fill_value=0)
    return [str(text) for text in texts.filter(before < size).to_list()]


def documents_of(documents: Dataset, source: str, domain: Domain) -> DocumentReader:
    """The reader of a source's kept documents in `corpus/documents`."""
    return DocumentReader(tuple(documents.files(f"{source}/part-*.parquet")), domain.value)
