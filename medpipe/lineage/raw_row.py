"""The published row that a record came of, read again from the raw snapshot."""

from __future__ import annotations

import contextlib

import orjson

from medpipe.catalog.source import Source
from medpipe.ingest.errors import IngestError
from medpipe.ingest.readers import LineBatch, read_batches
from medpipe.lake.layout import Lake
from medpipe.lineage.search import Record
from medpipe.lineage.stages import find_dataset
from medpipe.normalize.errors import NormalizeError
from medpipe.normalize.files import opened_files


def raw_row(record: Record, source: Source | None, lake: Lake) -> str:
    """The row as published: JSON, or text where it is text; or why it cannot be shown.

    The file is read from its beginning to the row, in batches.
    """
    raw = find_dataset(lake, "raw", record.source, digest=record.revision)
    if raw is None:
        return f"(the raw snapshot {record.revision} is not in the lake; materialise raw/{record.source})"
    if source is None:
        return f"(no catalog entry for {record.source}, which says how its files are read)"
    try:
        with contextlib.closing(opened_files(source, raw)) as files:
            for path, origin in files:
                if origin.path != record.path:
                    continue
                file, row = origin.file, 0
                for batch in read_batches(
                    path,
                    file_format=file.format,
                    columns=file.columns,
                    records=file.records,
                    record_start=file.record_start,
                ):
                    if record.row < row + len(batch):
                        parsed = batch.parsed() if isinstance(batch, LineBatch) else batch
                        return _shown(dict(zip(parsed.rows, parsed.values, strict=True)).get(record.row))
                    row += len(batch)
    except (IngestError, NormalizeError) as error:
        return f"({error})"
    return f"(no row {record.row} of {record.path} in raw/{record.source}/{record.revision})"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
