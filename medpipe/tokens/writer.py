"""Writes one shard: `.bin`, `.idx`, `.docs.parquet` and `.tokens.parquet`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from medpipe.lake.parquet import ROW_GROUP_ROWS, ParquetSink
from medpipe.tokens.encode import EncodedDocument
from medpipe.tokens.index import TokenIndex
from medpipe.tokens.vocabulary import stored_dtype

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
        self._ids: list[str] = []
        self._langs: list[str] = []
        self._sizes: list[int] = []
        self._lengths: list[int] = []
        self.tokens = 0

    def has_room(self, document: EncodedDocument, limit: int) -> bool:
        """Whether the shard stays within `limit` tokens with this document."""
        return self.tokens + len(document.tokens) <= limit

    def add(self, document: EncodedDocument) -> None:
        """Appends a document."""
        data = document.tokens.tobytes()
        self._bin.write(data)
        self._hash.update(data)
        self._ids.append(document.id)
        self._langs.append(document.lang)
        self._sizes.append(document.text_bytes)
        self._lengths.append(len(document.tokens))
        self.tokens += len(document.tokens)

    def close(self) -> WrittenShard:
        """Writes the files beside the tokens."""
        self._bin.close()
        index = TokenIndex(self._dtype, np.array(self._lengths, dtype=np.int32))
        self._prefix.with_suffix(".idx").write_bytes(index.to_bytes())
        offsets = index.ends - index.lengths
        table = pl.DataFrame(
            {
                "id": self._ids,
                "lang": self._langs,
                "offset": offsets,
                "length": self._lengths,
                "text_bytes": self._sizes,
            },
            schema=DOCUMENT_INDEX_SCHEMA,
        )
        with ParquetSink(self._prefix.with_suffix(".docs.parquet"), schema=DOCUMENT_INDEX_SCHEMA) as sink:
            sink.write(table)
        self._write_token_parquet(offsets)
        self._hash.update(sink.content.hexdigest().encode())
        return WrittenShard(
            name=self._name,
            split=self._split,
            tier=self._tier,
            documents=len(self._ids),
            tokens=self.tokens,
            text_bytes=sum(self._sizes),
            content=self._hash.hexdigest(),
        )

    def abort(self) -> None:
        """Closes the file of a shard that will not be finished."""
        self._bin.close()

    def _write_token_parquet(self, offsets: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        """Columns `id`, `source`, `tokens`: the same tokens as a list a document, without a copy of them."""
        dtype = stored_dtype(self._dtype)
        tokens = np.memmap(self._prefix.with_suffix(".bin"), dtype=dtype, mode="r")
        values = pa.array(tokens)
        lists = pa.ListArray.from_arrays(np.append(offsets, self.tokens).astype(np.int32), values)
        count = len(self._ids)
        table = pa.table(
            {
                "id": pa.array(self._ids, pa.string()),
                "source": pa.array([self._source] * count, pa.string()),
                "tokens": lists,
            }
        )
        path = self._prefix.with_suffix(".tokens.parquet")
        pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP_ROWS)
