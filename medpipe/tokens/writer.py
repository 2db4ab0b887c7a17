"""Writes one shard: `.bin`, `.idx`, `.docs.parquet` and `.tokens.parquet`."""

from __future__ import annotations

import contextlib
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
DOCUMENT_INDEX_NOTES = {
    "id": "the document's id in the corpus",
    "lang": "language: zh, en or other",
    "offset": "tokens of the shard before the document",
    "length": "tokens of the document, with <eos>",
    "text_bytes": "UTF-8 bytes of its text",
}
"""What is in each of them."""


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
        self._index = ParquetSink(self._prefix.with_suffix(".docs.parquet"), schema=DOCUMENT_INDEX_SCHEMA)
        self._lengths: list[npt.NDArray[np.int32]] = []
        self.documents = 0
        self.tokens = 0
        self._text_bytes = 0

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
        ends = self.tokens + np.cumsum(batch.lengths)
        self._index.write(
            batch.documents.select("id", "lang", "text_bytes")
            .with_columns(
                offset=pl.Series(ends - batch.lengths, dtype=pl.Int64),
                length=pl.Series(batch.lengths, dtype=pl.Int64),
            )
            .select(DOCUMENT_INDEX_SCHEMA.names())
        )
        self._lengths.append(batch.lengths.astype(np.int32))
        self.documents += batch.documents.height
        self.tokens += len(batch.tokens)
        self._text_bytes += int(batch.documents["text_bytes"].sum())

    def add(self, document: EncodedDocument) -> None:
        """Appends one document."""
        described = pl.DataFrame(
            {"id": [document.id], "lang": [document.lang], "text_bytes": [document.text_bytes]}
        )
        self.extend(EncodedBatch(described, document.tokens, np.array([len(document.tokens)], np.int64)))

    def close(self) -> WrittenShard:
        """Writes the files beside the tokens."""
        self._bin.close()
        self._index.close()
        index = TokenIndex(self._dtype, np.concatenate(self._lengths))
        self._prefix.with_suffix(".idx").write_bytes(index.to_bytes())
        self._write_token_parquet()
        self._hash.update(self._index.content.hexdigest().encode())
        return WrittenShard(
            name=self._name,
            split=self._split,
            tier=self._tier,
            documents=self.documents,
            tokens=self.tokens,
            text_bytes=self._text_bytes,
            content=self._hash.hexdigest(),
        )

    def abort(self) -> None:
        """Closes the files of a shard that will not be finished."""
        for file in (self._bin, self._index):
            with contextlib.suppress(OSError):  # the disk that is full already
                file.close()

    def _write_token_parquet(self) -> None:
        """Columns `id`, `source`, `tokens`: the same tokens as a list a document, a row group at a time."""
        dtype = stored_dtype(self._dtype)
        tokens_type = pa.list_(pa.from_numpy_dtype(dtype))
        schema = pa.schema([("id", pa.string()), ("source", pa.string()), ("tokens", tokens_type)])
        path = self._prefix.with_suffix(".tokens.parquet")
        with (
            self._prefix.with_suffix(".bin").open("rb") as file,
            pq.ParquetFile(self._prefix.with_suffix(".docs.parquet")) as documents,
            pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["source"]) as writer,
        ):
            for rows in documents.iter_batches(ROW_GROUP_ROWS, columns=["id", "length"]):
                ends = np.cumsum(rows["length"].to_numpy())
                tokens = pa.array(np.fromfile(file, dtype, int(ends[-1])))
                starts = pa.array(np.concatenate([[0], ends]), pa.int32())
                columns = [
                    rows["id"].cast(pa.string()),
                    pa.repeat(pa.scalar(self._source, pa.string()), rows.num_rows),
                    pa.ListArray.from_arrays(starts, tokens),
                ]
                writer.write_table(pa.table(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)
