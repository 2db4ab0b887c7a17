"""From a batch of published rows to a frame of records with provenance, language, ids and keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import polars as pl

from medpipe.catalog.layouts import FieldsLayout
from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.encoding import UTF8
from medpipe.ingest.readers import LineBatch, RowBatch
from medpipe.normalize.chosen_rows import choose_rows
from medpipe.normalize.extracted import RAW_CHARACTERS, Batch, Rejection, raw_text
from medpipe.normalize.language import record_language
from medpipe.normalize.layouts import read_layout
from medpipe.normalize.layouts.fields import read_field_lines
from medpipe.normalize.lookup import LookupTable
from medpipe.records.keys import content_key, joined_content, record_ids
from medpipe.records.kinds import (
    Language,
    Tier,
    identity_columns,
    record_columns,
    record_schema,
    rejected_columns,
)

_NAMES = ("role", "label")
"""Fields inside turns and options that are names and no text."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a batch comes from."""

    source: Source
    revision: str
    path: str
    """File within the snapshot."""
    file: SourceFile
    """The catalog's words about that file."""
    lookup: LookupTable | None = None
    """The second table that completes its rows."""


@dataclass(frozen=True)
class Normalized:
    """Records and rejected rows of one batch."""

    records: pl.DataFrame
    """Schema of the source's kind."""
    rejected: pl.DataFrame
    """Schema `Rejected`."""


def normalize_batch(rows: RowBatch | LineBatch, origin: Origin) -> Normalized:
    """Records of a batch of rows; each row gives a record or a rejection.

    JSON lines of multi-field records that are all alike are not parsed into objects; the records are the
    same.

    Raises:
        NormalizeError: a row does not go together with the second table of its file.
        dataframely.exc.ValidationError: a record breaks the schema of its kind; a defect of this room.
    """
    kind = origin.source.record_kind
    language = origin.file.language or origin.source.language
    left_out: list[Rejection] = []
    if isinstance(rows, LineBatch) and (found := _read_lines(rows, origin, language)) is not None:
        batch, content = found
        rows = RowBatch()
    else:
        rows = rows.parsed() if isinstance(rows, LineBatch) else rows
        batch, left_out = choose_rows(rows, origin.file, origin.lookup)
        content = read_layout(batch, origin.source.record_layout, language, kind)
    if origin.source.simplify:
        content = _simplified(content)
    rejected = list(batch.rejections.values())
    if origin.lookup is not None:
        published = dict(zip(rows.rows, rows.values, strict=True))
        rejected = [replace(each, raw=raw_text(published[each.row])) for each in rejected]
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
    frame = frame.with_columns(record_ids(frame, kind=kind, content=identity_columns(kind)))
    schema = record_columns(kind)
    records = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    return Normalized(
        record_schema(kind).validate(records), _rejected_frame(rows, [*left_out, *rejected], origin)
    )


def _read_lines(lines: LineBatch, origin: Origin, language: Language) -> tuple[Batch, pl.DataFrame] | None:
    """What a layout makes of JSON lines without parsing them, where it can."""
    layout, file = origin.source.record_layout, origin.file
    if not isinstance(layout, FieldsLayout) or lines.encoding != UTF8 or file.keep_where or origin.lookup:
        return None
    return read_field_lines(lines, layout, language)


def _simplified(content: pl.DataFrame) -> pl.DataFrame:
    """Every text of some records in simplified characters, also inside turns and options."""
    from medpipe.normalize.simplify import simplify_column

    def text(column: pl.Expr) -> pl.Expr:
        return column.map_batches(simplify_column, return_dtype=pl.String, is_elementwise=True)

    texts = [text(pl.col(name)) for name, dtype in content.schema.items() if dtype == pl.String]
    for name, dtype in content.schema.items():
        inner = dtype.inner if isinstance(dtype, pl.List) else None
        if isinstance(inner, pl.Struct):
            fields = [text(pl.field(each.name)) for each in inner.fields if each.name not in _NAMES]
            texts.append(pl.col(name).list.eval(pl.element().struct.with_fields(fields)))
    return content.with_columns(texts)


def _rejected_frame(rows: RowBatch, rejections: Iterable[Rejection], origin: Origin) -> pl.DataFrame:
    entries = [(r.row, r.reason, r.detail, r.raw) for r in rejections]
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
