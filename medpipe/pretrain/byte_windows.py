"""Fixed byte windows of held-out text: the same bytes for every model, whatever its tokenizer.

A document's text is cut into windows of `WINDOW_BYTES` bytes from its first byte on, the last one shorter. A
window is known by the document's id and its first byte alone; so is the order in which a limited number of
them is chosen. A token that stands across a border counts to both windows by its bytes' share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from medpipe.lake.digest import digest_value

if TYPE_CHECKING:
    from medpipe.tokens.token_bytes import TokenBytes

MEASURE_VERSION = "2"
"""Raised by hand whenever the same model and text would give other bits per byte."""
WINDOW_BYTES = 1024
"""Size of a window."""
BYTES_PER_TOKEN = 3
"""What a token of a plan's `validation_tokens` stands for, whatever the tokenizer."""

_PLACE = ["shard", "row"]


def measure_digest(shards: Sequence[str], limit_tokens: int | None) -> str:
    """Digest of what bits per byte are measured on, and how.

    Args:
        shards: keys of the validation shards.
        limit_tokens: the plan's `validation_tokens`.
    """
    return digest_value([list(shards), limit_bytes(limit_tokens), MEASURE_VERSION, WINDOW_BYTES])


def limit_bytes(limit_tokens: int | None) -> int | None:
    """Most bytes of a domain that a plan's `validation_tokens` allow; None for all."""
    return None if limit_tokens is None else limit_tokens * BYTES_PER_TOKEN


@dataclass(frozen=True)
class HeldOutShard:
    """A validation shard: its tokens and what is known of each document in it."""

    domain: str
    tokens: npt.NDArray[Any]
    """uint16 or int32, usually mapped from its file."""
    documents: pl.DataFrame
    """Columns id, lang, offset, length (tokens with `<eos>`), text_bytes."""


def cut_windows(shards: Sequence[HeldOutShard], *, window_bytes: int = WINDOW_BYTES) -> pl.DataFrame:
    """All windows of some shards; an empty document has none.

    Args:
        shards: held-out shards.
        window_bytes: size of a window.

    Returns:
        A row a window, in the order of the shards: `domain`, `lang`, `document` (str), `start`, `bytes`,
        and where the document lies, `shard` and `row` (all i64).
    """
    frames = [
        shard.documents.with_row_index("row").select(
            domain=pl.lit(shard.domain),
            lang="lang",
            document="id",
            start=pl.int_ranges(0, "text_bytes", window_bytes),
            text_bytes=pl.col("text_bytes").cast(pl.Int64),
            shard=pl.lit(number, pl.Int64),
            row=pl.col("row").cast(pl.Int64),
        )
        for number, shard in enumerate(shards)
    ]
    if not frames:
        return pl.DataFrame(schema=_SCHEMA)
    return (
        pl.concat(frames)
        .filter(pl.col("text_bytes") > 0)
        .explode("start")
        .with_columns(bytes=(pl.col("text_bytes") - pl.col("start")).clip(upper_bound=window_bytes))
        .select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items())
    )


_SCHEMA = {
    "domain": pl.String,
    "lang": pl.String,
    "document": pl.String,
    "start": pl.Int64,
    "bytes": pl.Int64,
    "shard": pl.Int64,
    "row": pl.Int64,
}


def choose_windows(windows: pl.DataFrame, bytes_per_domain: int | None) -> pl.DataFrame:
    """Limits the windows of each domain, to the same ones whenever the text is the same.

    They are taken in the order of a hash of document and first byte until the limit is reached; at least
    one of a domain is taken.

    Args:
        windows: from `cut_windows`.
        bytes_per_domain: most bytes of a domain; None takes all.

    Returns:
        The chosen rows in the order they had.
    """
    if bytes_per_domain is None:
        return windows
    numbered = windows.with_row_index("number")
    kept: list[int] = []
    for (_,), of_domain in numbered.group_by("domain", maintain_order=True):
        if of_domain["bytes"].sum() <= bytes_per_domain:
            kept += of_domain["number"].to_list()
            continue
        ranked = sorted(
            (hashlib.blake2b(f"{document} {start}".encode(), digest_size=8).digest(), number, size)
            for document, start, number, size in of_domain.select(
                "document", "start", "number", "bytes"
            ).iter_rows()
        )
        taken = 0
        for place, (_, number, size) in enumerate(ranked):
            if place and taken + size > bytes_per_domain:
                break
            kept.append(number)
            taken += size
    return windows[sorted(kept)]


@dataclass(frozen=True)
class WindowedDocument:
    """The tokens of a document and the windows of it that are measured."""

    ids: npt.NDArray[Any]
    """Without `<eos>`, [n]."""
    edges: npt.NDArray[np.float64]
    """Bytes at which tokens begin and end, [n + 1]."""
    starts: npt.NDArray[np.int64]
    """First byte of each window, rising."""
    sizes: npt.NDArray[np.int64]

    def needed(self) -> npt.NDArray[np.bool_]:
        """Which tokens [n] stand in a window, in part at least.

        A token without bytes belongs to the window that ends where it stands, at the text's beginning to the
        first one.
        """
        begins, ends = self.edges[:-1], self.edges[1:]
        stops = self.starts + self.sizes
        first = np.where(self.starts == 0, 0, np.searchsorted(ends, self.starts, side="right"))
        behind = np.maximum(
            np.searchsorted(begins, stops, side="left"), np.searchsorted(ends, stops, side="right")
        )
        change = np.zeros(len(self.ids) + 1, np.int64)
        np.add.at(change, first, 1)
        np.add.at(change, behind, -1)
        return np.cumsum(change[:-1]) > 0

    def share_out(self, bits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Bits of each window.

        Args:
            bits: of each token, [n]; what stands in no window does not matter.
        """
        bits = np.where(self.needed(), bits, 0.0)
        reached = np.concatenate([[0.0], np.cumsum(bits)])

        def before(place: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
            """Bits of the text before a byte, the tokens without bytes that stand there included."""
            return np.where(place == 0, 0.0, np.interp(place, self.edges, reached))

        shares: npt.NDArray[np.float64] = before(self.starts + self.sizes) - before(self.starts)
        return shares


def windowed_documents(
    windows: pl.DataFrame, shards: Sequence[HeldOutShard], token_bytes: TokenBytes
) -> list[WindowedDocument]:
    """The documents of chosen windows, in the order of the windows.

    Raises:
        ShardError: a document's tokens do not stand for its text.
    """
    found = []
    for (shard, row), part in windows.group_by(_PLACE, maintain_order=True):
        held_out = shards[int(str(shard))]
        facts = held_out.documents.row(int(str(row)), named=True)
        ids = np.asarray(held_out.tokens[facts["offset"] : facts["offset"] + facts["length"] - 1])
        found.append(
            WindowedDocument(
                ids=ids,
                edges=token_bytes.edges(ids, text_bytes=facts["text_bytes"], document=facts["id"]),
                starts=part["start"].to_numpy(),
                sizes=part["bytes"].to_numpy(),
            )
        )
    return found
