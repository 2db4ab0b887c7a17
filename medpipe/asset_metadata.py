"""What assets of every room show a person in the same way: schemas, previews, paths, failures."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from medpipe.catalog.source import Source
from medpipe.lake.dataset import Dataset
from medpipe.lake.error_words import HANDLED, in_words
from medpipe.lake.parquet import scan_parts

OWNERS = ["team:medpipe"]
PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 120
_MASKED_CHARACTERS = 10_000
"""Only so much of a cell is masked: enough to tell its language, and far more than is shown of it."""
DECIMALS = 4

RAW_GROUP = "raw"
NORMALIZED_GROUP = "normalized"
CORPUS_GROUP = "corpus"
TOKENS_GROUP = "tokens"
PRETRAIN_GROUP = "pretrain"
EVALUATION_GROUP = "evaluation"

WHAT_TO_DO = "what to do"
"""Metadata key of a failure."""
_GO_ON = (
    "Mend what the message names, then choose 'Re-execute from failure' on this run's page: steps that are "
    "done are not done again, data that is up to date is reused, and training resumes at its last checkpoint."
)
CODE_REFERENCES = "dagster/code_references"
REUSED = "reused"
"""Metadata key that tells whether an asset found its data set already made."""

MOST_TAG_CHARACTERS = 63
NO_LICENCE = "not-stated"
"""Tag of what no licence is known of."""
MOST_PICTURE_BYTES = 60_000
"""Every event with a picture is read and sent whole by the UI, so pictures are kept small."""
MOST_PICTURE_WIDTH = 1_080
"""Pixels that Dagster's dialog has room for in a window of 1,400."""
_PICTURE_COLOURS = (256, 128, 64)
"""The first that makes a picture small enough: with few, rare ones are lost, such as a colour bar's ends."""

Mask = Callable[[list[str]], list[str]]
"""Takes personal data out of texts."""

_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.-]+")
_LONG_NUMBER = re.compile(r"\d{7,}")


class Rebuild(dg.Config):
    """The one setting that every data asset has."""

    force: bool = False
    """Make it again even where nothing changed."""


@contextlib.contextmanager
def plain_failures() -> Iterator[None]:
    """Shows an error that names the thing and the fix as the step's failure, without retrying it.

    Raises:
        dagster.Failure: the block raised an error that a person can do something about; see `HANDLED`.
    """
    try:
        yield
    except HANDLED as error:
        raise failure(in_words(error)) from error


def failure(description: str) -> dg.Failure:
    """A step's failure: what went wrong and the fix, and how the run goes on once that is done."""
    return dg.Failure(description=description, metadata={WHAT_TO_DO: _GO_ON}, allow_retries=False)


def tag_value(text: str) -> str:
    """A text as the part of a tag that Dagster allows: letters, digits and `_ . -`, 63 at most.

    Raises:
        ValueError: no such character is in it.
    """
    value = _NOT_IN_TAGS.sub("-", text).strip("-")[:MOST_TAG_CHARACTERS]
    if not value:
        raise ValueError(f"{text!r} holds no letter or digit that a tag may have")
    return value


def source_tags(sources: Iterable[Source]) -> dict[str, str]:
    """Tags that people filter assets by: languages, licences and domains of what goes into them.

    Each value is a key of its own, so that an asset of many sources has them all:
    `tag:"licence/cc-by-nc-4.0"` finds everything that such a source goes into.
    """
    found: set[str] = set()
    for source in sources:
        found.add(f"language/{source.language.value}")
        found.add(f"licence/{tag_value((source.licence.name or NO_LICENCE).lower())}")
        found.update(f"domain/{domain.value}" for domain in source.domains)
    return dict.fromkeys(sorted(found), "")


def code_link(factory: Callable[..., Any]) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Metadata by which the UI leads from an asset to the function that makes it.

    Dagster's `with_source_code_references` reads and parses the source of every asset for the same: a tenth
    of a second of each load.
    """
    code = factory.__code__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        place = dg.LocalFileCodeReference(
            file_path=code.co_filename, line_number=code.co_firstlineno, label=factory.__name__
        )
        return {CODE_REFERENCES: dg.CodeReferencesMetadataValue(code_references=[place])}


def read_at(assets: Iterable[dg.AssetsDefinition], code_url: str) -> list[dg.AssetsDefinition]:
    """The assets with code links that lead to a repository's web page instead of to local files.

    Args:
        assets: made with `code_link`.
        code_url: the page of the repository's top folder at one revision.
    """
    top = Path(__file__).resolve().parents[1]

    def moved(spec: dg.AssetSpec) -> dg.AssetSpec:
        known = spec.metadata[CODE_REFERENCES].code_references
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            places = [
                dg.UrlCodeReference(
                    url=f"{code_url.rstrip('/')}/{Path(each.file_path).resolve().relative_to(top).as_posix()}"
                    f"#L{each.line_number}",
                    label=each.label,
                )
                for each in known
            ]
            references = dg.CodeReferencesMetadataValue(code_references=places)
        return spec.replace_attributes(metadata={**spec.metadata, CODE_REFERENCES: references})

    return [asset.map_asset_specs(moved) for asset in assets]


def table_schema(schema: pl.Schema, notes: Mapping[str, str] = {}) -> dg.TableSchema:
    """The columns of a table with their Polars types, and what is in them where `notes` say so."""
    return dg.TableSchema(
        [
            dg.TableColumn(name=name, type=str(dtype), description=notes.get(name))
            for name, dtype in schema.items()
        ]
    )


def column_lineage(columns: Mapping[str, Iterable[tuple[dg.AssetKey, str]]]) -> dg.TableColumnLineage:
    """Which columns of which assets each column is made of."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=key, column_name=column) for key, column in sources]
            for name, sources in columns.items()
        }
    )


def preview(
    parts: list[Path], *, schema: pl.Schema, columns: list[str], mask: Mask = list
) -> dg.MetadataValue[Any]:
    """The first rows of a table: texts masked and cut, long digit runs masked."""
    frame = scan_parts(parts, schema=schema).select(columns).head(PREVIEW_ROWS).collect()
    return preview_table(list(frame.iter_rows(named=True)), mask=mask)


def preview_table(rows: list[dict[str, Any]], *, mask: Mask = list) -> dg.MetadataValue[Any]:
    """Rows of a source as a metadata table: texts masked and cut, long digit runs masked."""
    texts = [str(value)[:_MASKED_CHARACTERS] for row in rows for value in row.values() if _is_text(value)]
    # At once: a mask costs more by the call than by the text.
    masked = iter(mask(texts))
    return facts_table(
        [
            {name: _cut(next(masked)) if _is_text(value) else value for name, value in row.items()}
            for row in rows
        ]
    )


def _is_text(value: Any) -> bool:
    return not (value is None or isinstance(value, bool | int | float))


def _cut(text: str) -> str:
    text = _LONG_NUMBER.sub(lambda match: "*" * len(match.group()), text)
    return text if len(text) <= PREVIEW_CHARACTERS else text[:PREVIEW_CHARACTERS] + "…"


def facts_table(rows: list[dict[str, Any]]) -> dg.MetadataValue[Any]:
    """Rows of plain values as a metadata table; the word "none" where there is no row."""
    if not rows:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table([dg.TableRecord({k: _plain(v) for k, v in row.items()}) for row in rows])


def _plain(value: Any) -> Any:
    """A value as a person reads it; Dagster cannot store a string that is also an enum's member."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    return value.value if isinstance(value, Enum) else value


def picture(png: bytes, *, caption: str) -> dg.MetadataValue[Any]:
    """A PNG shown inline: as wide as Dagster's dialog at most, of few colours if large for the event log."""
    png = _as_wide_as_a_dialog(png)
    if len(png) > MOST_PICTURE_BYTES:
        png = _with_few_colours(png)
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{base64.b64encode(png).decode()})")


def _as_wide_as_a_dialog(png: bytes) -> bytes:
    # Dagster shows a picture pixel by pixel and hides what is wider than its dialog.
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        if image.width <= MOST_PICTURE_WIDTH:
            return png
        height = round(image.height * MOST_PICTURE_WIDTH / image.width)
        buffer = io.BytesIO()
        shrunk = image.convert("RGB").resize((MOST_PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
        shrunk.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _with_few_colours(png: bytes) -> bytes:
    # Imported here: only what draws needs it.
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        colourful = image.convert("RGB")
    for colours in _PICTURE_COLOURS:
        buffer = io.BytesIO()
        # By the range of colours rather than how often each occurs: a colour bar is small and has them all.
        few = colourful.quantize(
            colours, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE
        )
        few.save(buffer, format="png", optimize=True)
        png = min(png, buffer.getvalue(), key=len)
        if len(png) <= MOST_PICTURE_BYTES:
            break
    return png


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
