"""A small `corpus/documents` of given texts, written without the rooms before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from medpipe.lake.dataset import Dataset, publish
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe
from medpipe.lake.parquet import ParquetSink
from medpipe.records.kinds import Kind, record_columns


@dataclass(frozen=True)
class Text:
    """A document."""

    text: str
    split: str = "train"
    tier: str = "raw"
    domain: str = "disease"

    @property
    def id(self) -> str:
        """As stable as the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


def publish_documents(lake: Lake, texts: Sequence[Text], *, source: str = "texts") -> Dataset:
    """The texts as the only source of `corpus/documents`."""
    schema = record_columns(Kind.DOCUMENT)
    given = {"source": source, "revision": "r", "path": "a", "row": 0, "part": 0, "lang": "zh"}
    rows = [
        given
        | {"id": t.id, "content_key": t.id, "split": t.split, "tier": t.tier}
        | {"domain": t.domain, "text": t.text}
        for t in texts
    ]
    frame = pl.DataFrame(rows, schema=schema)
    stated = {
        domain: digest_value([[t.id, t.text, t.split, t.tier] for t in texts if t.domain == domain])
        for domain in sorted({t.domain for t in texts})
    }
    recipe = Recipe(inputs={}, code_version="test", config={"content": digest_value(rows)})
    with publish(lake, "corpus", "documents", recipe=recipe) as draft:
        (draft.path / source).mkdir()
        with ParquetSink(draft.path / source / "part-00000.parquet", schema=schema) as sink:
            sink.write(frame)
        draft.rows = frame.height
        sizes = {d: sum(len(t.text.encode()) for t in texts if t.domain == d) for d in stated}
        draft.facts = {"by_source": {source: {"content_digest": stated, "text_bytes": sizes}}}
    return draft.dataset
