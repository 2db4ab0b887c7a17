"""From a batch of published rows to a frame of records with provenance, language, ids and keys."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.readers import RowBatch
from medpipe.normalize.extracted import RAW_CHARACTERS, Batch
from medpipe.normalize.language import record_language
from medpipe.normalize.layouts import read_layout
from medpipe.records.keys import content_key, joined_content, record_ids
from medpipe.records.kinds import Tier, content_columns, record_columns, record_schema, rejected_columns


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a batch comes from."""

    source: Source
    revision: str
    path: str
    """File within the snapshot."""
    file: SourceFile
    """The catalog's words about that file."""


@dataclass(frozen=True)
class Normalized:
    """Records and rejected rows of one batch."""

    records: pl.DataFrame
    """Schema of the source's kind."""
    rejected: pl.DataFrame
    """Schema `Rejected`."""


def normalize_batch(rows: RowBatch, origin: Origin) -> Normalized:
    """Records of a batch of rows; each row gives a record or a rejection.

    Raises:
        dataframely.exc.ValidationError: a record breaks the schema of its kind; a defect of this room.
    """
    kind = origin.source.kind
    language = origin.file.language or origin.source.language
    batch = Batch(rows=rows.rows, values=rows.values)
    content = read_layout(batch, origin.source.layout, language)
    columns = content_columns(kind)
    frame = content.with_columns(
        source=pl.lit(origin.source.id),
        revision=pl.lit(origin.revision),
        path=pl.lit(origin.path),
        split=pl.lit(origin.file.split.value),
        domain=pl.lit(origin.file.domain.value),
        tier=pl.lit(Tier.RAW.value),
        whole=joined_content(kind),
    ).with_columns(
        lang=record_language(pl.col("whole"), language),
        content_key=content_key(pl.col("whole")),
    )
    # The tier is a judgement about a record and no part of it.
    identity = [name for name in columns if name != "tier"]
    frame = frame.with_columns(record_ids(frame, kind=kind, content=identity))
    schema = record_columns(kind)
    records = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    return Normalized(record_schema(kind).validate(records), _rejected_frame(rows, batch, origin))


def _rejected_frame(rows: RowBatch, batch: Batch, origin: Origin) -> pl.DataFrame:
    entries = [(r.row, r.reason, r.detail, r.raw) for r in batch.rejections.values()]
    entries += [(b.row, b.reason, b.detail, b.raw[:RAW_CHARACTERS]) for b in rows.broken]
    schema = rejected_columns()
    names = ["row", "reason", "detail", "raw"]
    return (
        pl.DataFrame(entries, schema={name: schema[name] for name in names}, orient="row")
        .sort("row")
        .select(
            pl.lit(origin.source.id).alias("source"),
            pl.lit(origin.revision).alias("revision"),
            pl.lit(origin.path).alias("path"),
            *names,
        )
    )
