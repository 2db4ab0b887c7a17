"""What assets of every room show a person in the same way: schemas, previews, paths, failures."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from medpipe.lake.dataset import Dataset
from medpipe.lake.parquet import scan_parts

OWNERS = ["team:medpipe"]
PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 120
DECIMALS = 4

RAW_GROUP = "raw"
NORMALIZED_GROUP = "normalized"
CORPUS_GROUP = "corpus"
TOKENS_GROUP = "tokens"
PRETRAIN_GROUP = "pretrain"
EVALUATION_GROUP = "evaluation"

REUSED = "reused"
"""Metadata key that tells whether an asset found its data set already made."""

_LONG_NUMBER = re.compile(r"\d{7,}")


class Rebuild(dg.Config):
    """The one setting that every data asset has."""

    force: bool = False
    """Make it again even where nothing changed."""


@contextlib.contextmanager
def plain_failures() -> Iterator[None]:
    """Shows an error that names the thing and the fix as the step's failure, without retrying it.

    Raises:
        dagster.Failure: the block raised a `ValueError` or an `OSError`.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def table_schema(schema: pl.Schema) -> dg.TableSchema:
    """The columns of a table with their Polars types."""
    return dg.TableSchema([dg.TableColumn(name=name, type=str(dtype)) for name, dtype in schema.items()])


def _preview_cell(value: Any, clean: Callable[[str], str]) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = _LONG_NUMBER.sub(lambda match: "*" * len(match.group()), clean(str(value)))
    return text if len(text) <= PREVIEW_CHARACTERS else text[:PREVIEW_CHARACTERS] + "…"


def preview(
    parts: list[Path], *, schema: pl.Schema, columns: list[str], clean: Callable[[str], str] = str
) -> dg.MetadataValue[Any]:
    """The first rows of a table: cells cleaned, cut, and long digit runs masked."""
    frame = scan_parts(parts, schema=schema).select(columns).head(PREVIEW_ROWS).collect()
    rows = frame.iter_rows(named=True)
    return facts_table([{name: _preview_cell(value, clean) for name, value in row.items()} for row in rows])


def facts_table(rows: list[dict[str, Any]]) -> dg.MetadataValue[Any]:
    """Rows of plain values as a metadata table; an em dash where there is none."""
    if not rows:
        return dg.MetadataValue.text("—")
    return dg.MetadataValue.table([dg.TableRecord({k: _plain(v) for k, v in row.items()}) for row in rows])


def _plain(value: Any) -> Any:
    """A value as a person reads it; Dagster cannot store a string that is also an enum's member."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    return value.value if isinstance(value, Enum) else value


def picture(png: bytes, *, caption: str) -> dg.MetadataValue[Any]:
    """A PNG shown inline."""
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})")


def dataset_metadata(dataset: Dataset, *, reused: bool) -> dict[str, Any]:
    """What is told of every data set: where it lies, how large it is, whether it was there before."""
    return {
        "dagster/row_count": dataset.manifest.rows,
        "dagster/uri": dataset.path.as_posix(),
        "bytes": dataset.manifest.bytes,
        "digest": dataset.digest,
        REUSED: reused,
    }


def reasons_table(reasons: Mapping[str, int]) -> dg.MetadataValue[Any]:
    """Rejected rows by reason, most frequent first."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return facts_table([{"reason": reason, "rows": rows} for reason, rows in ordered])
