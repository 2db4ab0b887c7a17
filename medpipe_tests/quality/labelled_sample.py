"""The sample of real records that a reader labelled before the corpus filters were tuned.

Only keys and labels are kept here; the texts are normalised again from where the real records lie.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import polars as pl

from medpipe.catalog.load import read_catalog_folder
from medpipe.catalog.source import Source, Status
from medpipe.normalize.files import opened_files
from medpipe.normalize.records import Origin
from medpipe.normalize.run import normalized_batches
from medpipe.normalize.templates import render_conversations
from medpipe.records.kinds import Kind
from medpipe_tests.normalize.sources import make_raw
from medpipe_tests.shared_data import shared_data

HERE = Path(__file__).parent
CATALOG = HERE.parent / "shared_data_catalog"
KEY = ["file", "row", "part"]
"""Path below the folder of real records, row as the test catalog numbers it, part of the row."""


class Label(StrEnum):
    """What the reader found; `labelling_rule.md` says when."""

    KEEP = "keep"
    GARBLED = "garbled"
    WRONG_LANGUAGE = "wrong_language"
    REPETITION = "repetition"
    REFUSAL = "refusal"
    SPAM = "spam"
    LINK_ONLY = "link_only"
    BOILERPLATE = "boilerplate"
    CUT_OFF = "cut_off"
    TEMPLATE_KG = "template_kg"
    NOT_PROSE = "not_prose"
    TOO_LITTLE = "too_little"


def read_labels() -> pl.DataFrame:
    """The labels of both readers by key, in the order in which the texts were read."""
    types = {"file": pl.String, "row": pl.Int64, "part": pl.Int32, "label": pl.String}
    return pl.read_csv(HERE / "labels.csv", schema={**types, "second_label": pl.String})


class Agreement(NamedTuple):
    """How often two readers gave the same label, and Cohen's kappa: the same, less what chance would give."""

    raw: float
    kappa: float


def agreement(labels: pl.DataFrame) -> tuple[Agreement, Agreement]:
    """The agreement of `label` with `second_label`: over all classes, and on keep or defect.

    Rows without a second label do not count. Kappa is (raw - chance) / (1 - chance), where chance is the sum
    over the classes of the product of the two readers' shares; it is undefined if both gave one and the same
    class throughout.
    """
    both = labels.drop_nulls("second_label").select("label", "second_label")
    return _agreement(both), _agreement(both.select(pl.all() == Label.KEEP.value))


def _agreement(both: pl.DataFrame) -> Agreement:
    first, second = (Counter(column) for column in both)
    raw = sum(a == b for a, b in both.iter_rows()) / both.height
    chance = sum(first[name] * second[name] for name in first) / both.height**2
    return Agreement(raw, (raw - chance) / (1 - chance))


def read_draws() -> pl.DataFrame:
    """For every key the draw that brought it into the sample, and the digest of the text that was read."""
    types = {"file": pl.String, "row": pl.Int64, "part": pl.Int32, "drawn_by": pl.String, "digest": pl.String}
    return pl.read_csv(HERE / "draws.csv", schema=types)


def text_digest(text: str) -> str:
    """16 hex characters that tell whether a text is still the one that was labelled."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@cache
def load_labelled_sample() -> pl.DataFrame:
    """The labelled documents with their texts; skips the test if the real records are absent.

    Conversations are rendered as documents by their source's template, preferences as their prompt with the
    better answer.

    Returns:
        A row a labelled record that is still found, in the order of reading: `file`, `row`, `part`, `id`,
        `text`, `lang`, `domain` as the normaliser gives them, `label`, `second_label` (null where the second
        reader gave none), `drawn_by`, and `as_read`: whether the text is still the very text that was
        labelled.
    """
    root = shared_data().resolve()
    labels = read_labels()
    wanted: dict[str, set[int]] = {}
    for file, row in labels.select("file", "row").iter_rows():
        wanted.setdefault(file, set()).add(row)
    found = pl.concat(
        batch
        for source in read_catalog_folder(CATALOG)
        if source.status is Status.AVAILABLE and source.record_kind is not Kind.EXAM_ITEM
        for batch in _records(source, root, wanted)
    )
    digest = pl.col("text").map_elements(text_digest, return_dtype=pl.String)
    return (
        labels.join(read_draws(), on=KEY, how="left", maintain_order="left")
        .join(found, on=KEY, how="inner", maintain_order="left")
        .with_columns(as_read=digest == pl.col("digest"))
        .select(*KEY, "id", "text", "lang", "domain", "label", "second_label", "drawn_by", "as_read")
    )


def _records(source: Source, root: Path, wanted: dict[str, set[int]]) -> Iterator[pl.DataFrame]:
    assert source.folder is not None
    with (
        ThreadPoolExecutor(2) as pool,
        closing(opened_files(source, make_raw(source.folder))) as files,
    ):
        for path, origin in files:
            name = path.resolve().relative_to(root).as_posix()
            if name in wanted:
                yield from _documents(path, origin, pool, name, wanted[name])


def _documents(
    path: Path, origin: Origin, pool: ThreadPoolExecutor, name: str, rows: set[int]
) -> Iterator[pl.DataFrame]:
    read = 0
    last = max(rows)
    for published, batch in normalized_batches(path, origin, pool, None):
        frame = _rendered(batch.records.filter(pl.col("row").is_in(rows)).lazy(), origin.source)
        language_and_domain = pl.col("lang", "domain").cast(pl.String)
        yield frame.select(
            pl.lit(name).alias("file"), "row", "part", "id", "text", language_and_domain
        ).collect()
        read += published
        if read > last:
            return


def _rendered(frame: pl.LazyFrame, source: Source) -> pl.LazyFrame:
    """The records with a column `text`."""
    match source.record_kind:
        case Kind.CONVERSATION:
            return render_conversations(frame, source.template)
        case Kind.PREFERENCE:
            answer = pl.struct(role=pl.lit("assistant"), content="chosen")
            turns = pl.concat_list("prompt", pl.concat_list(answer))
            return render_conversations(frame.with_columns(turns=turns), source.template)
        case _:
            return frame
