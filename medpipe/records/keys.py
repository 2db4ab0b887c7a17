"""Record ids and content keys.

The content key is equal for equal content however a publisher wrapped it: role names and markers are
left out, case and width are unified, spaces and punctuation dropped, except where a digit stands next
to them, so that `1.0g` and `10g` keep different keys. Symbols such as `>` and `±` always stay. The rules
stand in `fold_kernel`, which is imported on first use only: it brings a compiler.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import polars as pl

from medpipe.records.kinds import Kind

_HEX_CHARACTERS = 32
"""128 bits of a SHA-256, which processors compute faster than BLAKE2."""


def _hash_each(data: memoryview, ends: Sequence[int]) -> pl.Series:
    """Hashes `data[ends[n]:ends[n + 1]]` for each `n`."""
    hashes = [
        hashlib.sha256(data[start:end]).hexdigest()[:_HEX_CHARACTERS]
        for start, end in itertools.pairwise(ends)
    ]
    return pl.Series(hashes, dtype=pl.String)


def _hash_folds(column: pl.Series) -> pl.Series:
    from medpipe.records.fold_kernel import fold_column

    folded = fold_column(column)
    return _hash_each(folded.units.astype("<u2", copy=False).data, folded.ends.tolist())


def content_key(content: pl.Expr) -> pl.Expr:
    """128-bit key of the folded content, as 32 hex characters; a null has the key of an empty text."""
    return content.map_batches(_hash_folds, return_dtype=pl.String, is_elementwise=True)


def joined_content(kind: Kind) -> pl.Expr:
    """All content of a record in order, without role names: what `content_key` is made of."""
    match kind:
        case Kind.DOCUMENT:
            return pl.col("text")
        case Kind.CONVERSATION:
            return _contents("turns")
        case Kind.PREFERENCE:
            return pl.concat_str(_contents("prompt"), "chosen", "rejected", separator=" ")
        case Kind.EXAM_ITEM:
            options = pl.col("options").list.eval(pl.element().struct.field("text")).list.join(" ")
            return pl.concat_str("question", options, separator=" ")


def _contents(turns: str) -> pl.Expr:
    return pl.col(turns).list.eval(pl.element().struct.field("content")).list.join(" ")


def record_ids(frame: pl.DataFrame, *, kind: Kind, content: list[str]) -> pl.Series:
    """128-bit hash of (source, kind, canonical record) for each row of a frame with a `source` column.

    The canonical record is the content columns in schema order, each as its length in bytes, a colon and its
    text: a string as it is, a list as JSON, a null as `-` alone.
    """
    from medpipe.records.utf8 import utf8_of

    columns = [_netstring(name, frame.schema[name]) for name in ("source", *content)]
    canonical = utf8_of(frame.select(pl.concat_str(pl.lit(f"{kind.value}\n"), *columns)).to_series())
    return _hash_each(canonical.data.data, canonical.offsets.tolist()).alias("id")


def _netstring(name: str, dtype: pl.DataType) -> pl.Expr:
    text = pl.col(name) if dtype == pl.String else pl.struct(name).struct.json_encode()
    length = text.str.len_bytes().cast(pl.String)
    return pl.concat_str(length, pl.lit(":"), text).fill_null("-")


def fold_text(text: str) -> str:
    """What of one text identifies its content, by the rules of `fold_kernel`; never the text itself."""
    from medpipe.records.fold_kernel import fold_column

    return fold_column(pl.Series([text], dtype=pl.String)).text(0)
