"""Writes one shard: `.bin`, `.idx`, `.docs.parquet` and `.tokens.parquet`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from medpipe.lake.parquet import ROW_GROUP_ROWS, ParquetSink
from medpipe.tokens.encode import EncodedBatch, EncodedDocument
from medpipe.tokens.index import TokenIndex
from medpipe.tokens.vocabulary import stored_dtype

SUFFIXES = (".bin", ".idx", ".docs.parquet", ".tokens.parquet")
"""The files of a shard."""
DOCUMENT_INDEX_SCHEMA = pl.Schema(
    {"id": pl.String, "lang": pl.String, "offset": pl.Int64, "length": pl.Int64, "text_bytes": pl.Int64}
)
"""Columns of `.docs.parquet`: offset and length (with `<eos>`) in tokens, text_bytes in UTF-8 bytes."""


@dataclass(frozen=True)
class WrittenShard:
    """What a finished shard holds."""

    name: str
    split: str
    tier: str
    documents: int
    tokens: int
    """With one `<eos>` a document."""
    text_bytes: int
    content: str
    """Digest of the token bytes and of the document index."""


class ShardWriter:
    """Takes documents of one split and tier; the tokens go to the disk at once."""

    def __init__(self, folder: Path, name: str, *, split: str, tier: str, source: str, dtype: str) -> None:
        self._prefix = folder / name
        self._name, self._split, self._tier, self._source = name, split, tier, source
        self._dtype = dtype
        self._bin = self._prefix.with_suffix(".bin").open("wb")
        self._hash = hashlib.sha256()
        self._tables: list[pl.DataFrame] = []
        self.documents = 0
        self.tokens = 0

    def room_for(self, lengths: npt.NDArray[np.int64], limit: int) -> int:
        """How many of the next documents fit into `limit` tokens; the first always does if there is none yet.

        Args:
            lengths: tokens of each document.
            limit: most tokens of the shard.
        """
        fitting = int(np.searchsorted(np.cumsum(lengths), limit - self.tokens, side="right"))
        return fitting or int(not self.documents)

    def extend(self, batch: EncodedBatch) -> None:
        """Appends documents."""
        data = np.ascontiguousarray(batch.tokens).data
        self._bin.write(data)
        self._hash.update(data)
        described = batch.documents.select("id", "lang", "text_bytes")
        self._tables.append(described.with_columns(length=pl.Series(batch.lengths, dtype=pl.Int64)))
        self.documents += described.height
        self.tokens += len(batch.tokens)

    def add(self, document: EncodedDocument) -> None:
        """Appends one document."""
        described = pl.DataFrame(
            {"id": [document.id], "lang": [document.lang], "text_bytes": [document.text_bytes]}
        )
        self.extend(EncodedBatch(described, document.tokens, np.array([len(document.tokens)], np.int64)))

    def close(self) -> WrittenShard:
        """Writes the files beside the tokens."""
        self._bin.close()
        documents = pl.concat(self._tables)
        index = TokenIndex(self._dtype, documents["length"].cast(pl.Int32).to_numpy())
        self._prefix.with_suffix(".idx").write_bytes(index.to_bytes())
        offsets = index.ends - index.lengths
        table = documents.with_columns(offset=pl.Series(offsets, dtype=pl.Int64)).select(
            DOCUMENT_INDEX_SCHEMA.names()
        )
        with ParquetSink(self._prefix.with_suffix(".docs.parquet"), schema=DOCUMENT_INDEX_SCHEMA) as sink:
            sink.write(table)
        self._write_token_parquet(table)
        self._hash.update(sink.content.hexdigest().encode())
        return WrittenShard(
            name=self._name,
            split=self._split,
            tier=self._tier,
            documents=self.documents,
            tokens=self.tokens,
            text_bytes=int(table["text_bytes"].sum()),
            content=self._hash.hexdigest(),
        )

    def abort(self) -> None:
        """Closes the file of a shard that will not be finished."""
        self._bin.close()

    def _write_token_parquet(self, documents: pl.DataFrame) -> None:
        """Columns `id`, `source`, `tokens`: the same tokens as a list a document, without a copy of them."""
        dtype = stored_dtype(self._dtype)
        tokens = np.memmap(self._prefix.with_suffix(".bin"), dtype=dtype, mode="r")
        starts = np.append(documents["offset"].to_numpy(), self.tokens).astype(np.int32)
        table = pa.table(
            {
                "id": documents["id"].to_arrow().cast(pa.string()),
                "source": pa.repeat(pa.scalar(self._source, pa.string()), self.documents),
                "tokens": pa.ListArray.from_arrays(starts, pa.array(tokens)),
            }
        )
        path = self._prefix.with_suffix(".tokens.parquet")
        pq.write_table(
            table, path, compression="zstd", row_group_size=ROW_GROUP_ROWS, use_dictionary=["source"]
        )
