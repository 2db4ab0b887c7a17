"""Where documents lie in shards, and where a passage lies in a document, in tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from medpipe.lake.dataset import Dataset
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, read_manifest
from medpipe.lineage.passages import find_in
from medpipe.tokens.snapshot import CorpusSnapshot
from medpipe.tokens.vocabulary import stored_dtype

DOCUMENTS = ".docs.parquet"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A document in a shard."""

    id: str
    shard: str
    """`domain/source/digest/name`."""
    file: str
    """Path of the `.bin` file."""
    split: str
    tier: str
    document: int
    """Place in the shard, 0 first."""
    offset: int
    """First token within the shard."""
    length: int
    """Tokens, with `<eos>`."""
    start: int
    """First token of the passage within the shard, or of the document."""
    stop: int
    """Behind the last token of the passage, or of the document without its `<eos>`."""
    extent: str = "document"
    """What `start` and `stop` enclose: `passage`, or the whole `document` where the tokens of a passage
    cannot be told apart."""

    @property
    def source(self) -> str:
        """The source of the document."""
        return self.shard.split("/")[1]


def places_in(lake: Lake, snapshot: CorpusSnapshot, ids: Collection[str]) -> list[Place]:
    """Where documents lie in the shards of a snapshot; shards that are gone are passed over."""
    found: list[Place] = []
    for ref in snapshot.shards:
        folder = lake.dataset("shards", ref.domain, ref.source, digest=ref.digest)
        try:
            found += places_in_dataset(Dataset(folder, read_manifest(folder)), ids)
        except ManifestError:
            continue
    return found


def places_in_dataset(dataset: Dataset, ids: Collection[str]) -> Iterator[Place]:
    """Where documents lie in one shard data set."""
    facts = dataset.manifest.facts
    for shard in facts["shards"]:
        rows = (
            pl.scan_parquet(dataset.path / (shard["name"] + DOCUMENTS))
            .with_row_index("document")
            .filter(pl.col("id").is_in(list(ids)))
            .select("id", "document", "offset", "length")
            .collect(engine="streaming")
        )
        for row in rows.iter_rows(named=True):
            yield Place(
                shard=f"{facts['domain']}/{facts['source']}/{dataset.digest}/{shard['name']}",
                file=str(dataset.path / f"{shard['name']}.bin"),
                split=shard["split"],
                tier=shard["tier"],
                start=row["offset"],
                # A document of no token at all is its <eos> alone.
                stop=row["offset"] + max(row["length"] - 1, 1),
                **row,
            )


def narrowed(place: Place, passage: str, *, text: str | None, tokenizer: Tokenizer, dtype: str) -> Place:
    """The place with the tokens of a passage alone, where they can be told exactly.

    The document's text is encoded again with the offsets of its tokens. Only where the ids are those of the
    shard do the offsets hold; then the range is that of all tokens that share a character with the passage.

    Args:
        place: where the document lies.
        passage: what is looked for.
        text: the document's text as it was encoded; None where it is not there any more.
        tokenizer: the shard's.
        dtype: of the shard, `uint16` or `int32`.

    Returns:
        The narrowed place, or the same one.
    """
    match = None if text is None else find_in(text, passage)
    if text is None or match is None:
        return place
    encoding = tokenizer.encode(text, add_special_tokens=False)
    kind = stored_dtype(dtype)
    stored = np.fromfile(place.file, dtype=kind, count=place.length - 1, offset=place.offset * kind.itemsize)
    if stored.tolist() != encoding.ids:
        return place
    starts, stops = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2).T
    touched = np.flatnonzero((starts < match.stop) & (stops > match.start))
    if not len(touched):
        return place
    return replace(
        place,
        start=place.offset + int(touched[0]),
        stop=place.offset + int(touched[-1]) + 1,
        extent="passage",
    )


def document_texts(documents: Mapping[str, list[str]], corpus: Dataset) -> dict[str, str]:
    """Texts of the corpus as they were encoded, by id.

    Args:
        documents: ids by source.
        corpus: `corpus/documents`.
    """
    found: dict[str, str] = {}
    for source, ids in documents.items():
        files = corpus.files(f"{source}/part-*.parquet")
        if files:
            rows = pl.scan_parquet(files).filter(pl.col("id").is_in(ids)).select("id", "text").collect()
            found |= dict(rows.iter_rows())
    return found
