"""Content digests: of files, of plain values, and of a frame's logical content."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import orjson
import polars as pl

DIGEST_LENGTH = 32
"""Hex characters of a data set's digest: 128 bits."""


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex characters."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_bytes(data: bytes) -> str:
    """128-bit digest of bytes, as 32 hex characters."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]


def digest_value(value: Any) -> str:
    """128-bit digest of a JSON-like value; the order of dictionary keys does not matter."""
    return digest_bytes(orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))


class FrameDigest:
    """Digest of a table's logical content: schema and rows in order.

    Batches may be cut anywhere: the digest of a table is the same however it was fed.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._schema: list[tuple[str, str]] | None = None
        self.rows = 0

    def update(self, frame: pl.DataFrame) -> None:
        """Adds the next rows.

        Raises:
            ValueError: the columns differ from those of the rows before.
        """
        schema = [(name, str(dtype)) for name, dtype in frame.schema.items()]
        if self._schema is None:
            self._schema = schema
            self._hash.update(orjson.dumps(schema))
        elif schema != self._schema:
            raise ValueError(f"a batch has the columns {schema}, the batches before it have {self._schema}")
        lines = io.BytesIO()
        frame.write_ndjson(lines)
        self._hash.update(lines.getbuffer())
        self.rows += frame.height

    def hexdigest(self) -> str:
        """The digest of all rows so far, as 32 hex characters."""
        return self._hash.hexdigest()[:DIGEST_LENGTH]
