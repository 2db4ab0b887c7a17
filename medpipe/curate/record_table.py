"""What is known of every record of every source: the only thing of a corpus that is held in memory.

Numbers only, some 60 bytes a record: keys as two 64-bit halves, what a record is about as a hash, a verdict
as a code. Details of a verdict stay on the disk, and are read beside the records when these are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.lake.dataset import Dataset
from medpipe.lake.tombstones import Tombstones
from medpipe.records.kinds import Domain, Split

NONE = np.uint32(0xFFFF_FFFF)
"""No row, no key, no cluster."""
BATCH_ROWS = 16_384
DOMAINS = [each.value for each in Domain]

Keys = NDArray[np.uint64]
"""128-bit hashes in two columns, the upper half first."""
Rows = NDArray[np.uint32]
Flags = NDArray[np.bool_]


class Verdict(IntEnum):
    """Why a record is left out."""

    KEPT = 0
    FILTERED = 1
    """By a filter or the least length; reason and detail stand in the judgement."""
    EXAM_ITEM = 2
    """Item and passage stand in the data set of contaminated records."""
    WITHDRAWN = 3
    HELD_OUT_BUT_SEEN = 4
    EXACT_DUPLICATE = 5
    NEAR_DUPLICATE = 6


@dataclass(frozen=True)
class RecordTable:
    """A row for each record, in the order of the sources and of publication."""

    rows_of: dict[str, slice]
    """Where each source stands."""
    ids: Keys
    keys: Keys
    """Content keys."""
    scrubbed: tuple[Rows, Keys]
    """The rows whose content changes where personal data is replaced, and its key then."""
    domains: NDArray[np.uint8]
    """Place in `DOMAINS`."""
    is_published: Flags
    """Whether the publisher holds the record out."""
    characters: NDArray[np.uint32]
    is_refined: Flags
    families: NDArray[np.uint64]
    """Hash of what the record is about; 0 for nothing."""
    questions: NDArray[np.uint64]
    """Key of the question that it opens with; 0 for none."""
    verdicts: NDArray[np.uint8]
    """A `Verdict` each: what is known before records are compared."""

    def __len__(self) -> int:
        return len(self.verdicts)

    def feeding(self, sources: Mapping[str, bool]) -> Flags:
        """Which records belong to the sources that are true."""
        flags = np.zeros(len(self), bool)
        for source_id, rows in self.rows_of.items():
            flags[rows] = sources[source_id]
        return flags


def read_records(
    judgements: Mapping[str, Dataset],
    contamination: Mapping[str, Dataset],
    *,
    tombstones: Tombstones = Tombstones(),  # noqa: B008 - frozen
) -> RecordTable:
    """Reads the judgements of all sources, batch by batch.

    Args:
        judgements: by source id, in the catalog's order.
        contamination: by source id; a source that is not there repeats no exam.
        tombstones: what was withdrawn, whatever else is said of it.

    Raises:
        ValueError: there are more records than a table can number.
    """
    rows_of, total = {}, 0
    for source_id, dataset in judgements.items():
        rows_of[source_id] = slice(total, total + dataset.manifest.rows)
        total += dataset.manifest.rows
    if total >= NONE:
        raise ValueError(f"{total:,} records are more than the {int(NONE):,} that one corpus can hold")
    table = RecordTable(
        rows_of=rows_of,
        ids=np.empty((total, 2), np.uint64),
        keys=np.empty((total, 2), np.uint64),
        scrubbed=(np.zeros(0, np.uint32), np.zeros((0, 2), np.uint64)),
        domains=np.empty(total, np.uint8),
        is_published=np.empty(total, bool),
        characters=np.empty(total, np.uint32),
        is_refined=np.empty(total, bool),
        families=np.empty(total, np.uint64),
        questions=np.empty(total, np.uint64),
        verdicts=np.empty(total, np.uint8),
    )
    changed_rows, changed_keys = [table.scrubbed[0]], [table.scrubbed[1]]
    for source_id, dataset in judgements.items():
        at = rows_of[source_id].start
        for batch in _batches(source_id, dataset, tombstones):
            here = slice(at, at + batch.height)
            for field, columns in (("ids", "id"), ("keys", "key")):
                getattr(table, field)[here, 0] = batch[f"{columns}_high"]
                getattr(table, field)[here, 1] = batch[f"{columns}_low"]
            for name in ("domains", "is_published", "characters", "is_refined", "families", "questions"):
                getattr(table, name)[here] = batch[name].to_numpy()
            table.verdicts[here] = batch["verdicts"].to_numpy()
            changed = batch["scrubbed_high"].is_not_null()
            changed_rows.append((changed.arg_true().to_numpy() + at).astype(np.uint32))
            changed_keys.append(batch.filter(changed).select("scrubbed_high", "scrubbed_low").to_numpy())
            at += batch.height
        if at != rows_of[source_id].stop:
            raise RuntimeError(f"{source_id}: the judgement is not what its manifest says; build again")
        if source_id in contamination:
            _mark_exam_items(table, rows_of[source_id], contamination[source_id])
    whole = np.concatenate(changed_rows), np.concatenate(changed_keys)
    return RecordTable(**(vars(table) | {"scrubbed": whole}))


def _batches(source_id: str, judgement: Dataset, tombstones: Tombstones) -> Iterator[pl.DataFrame]:
    verdict = (
        pl.when("withdrawn")
        .then(Verdict.WITHDRAWN)
        .when(pl.col("reason").is_not_null())
        .then(Verdict.FILTERED)
        .otherwise(Verdict.KEPT)
    )
    about = pl.col("family")
    for batch in batches_of(judgement):
        yield (
            batch.with_columns(source=pl.lit(source_id))
            .with_columns(withdrawn=tombstones.is_withdrawn())
            .select(
                *halves("id", "id_high", "id_low"),
                *halves("content_key", "key_high", "key_low"),
                *halves("scrubbed_key", "scrubbed_high", "scrubbed_low"),
                domains=pl.col("domain").replace_strict(DOMAINS, range(len(DOMAINS)), return_dtype=pl.UInt8),
                is_published=pl.col("split") != Split.TRAIN.value,
                characters="characters",
                is_refined="refined",
                # 0 is kept for none.
                families=pl.when(about.is_not_null()).then(about.hash() | 1).otherwise(0),
                questions=pl.col("question").fill_null(0),
                verdicts=verdict.cast(pl.UInt8),
            )
        )


def batches_of(dataset: Dataset, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """The rows of a data set of one part in order, in frames of bounded size.

    Read by one thread, a row group at a time: Polars reads ahead as far as it has threads.
    """
    import pyarrow.parquet as pq

    for path in dataset.files("part-*.parquet"):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                yield cast(pl.DataFrame, pl.from_arrow(batch))


def halves(column: str, high: str, low: str) -> list[pl.Expr]:
    """The two halves of a column of 32 hex characters, as UInt64."""
    text = pl.col(column).str
    return [
        half.str.to_integer(base=16, dtype=pl.UInt64).alias(name)
        for name, half in ((high, text.head(16)), (low, text.slice(16)))
    ]


def hex_keys(keys: Keys) -> list[str]:
    """Keys as they are written: 32 hex characters each."""
    digits = np.ascontiguousarray(keys).astype(">u8").tobytes().hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


def _mark_exam_items(table: RecordTable, rows: slice, repeats: Dataset) -> None:
    """Rejects what repeats an exam, but for what its publisher holds out itself: that is the exam."""
    verdicts, is_published = table.verdicts[rows], table.is_published[rows]
    for batch in batches_of(repeats, ["row"]):
        found = batch["row"].to_numpy()
        found = found[(verdicts[found] == Verdict.KEPT) & ~is_published[found]]
        verdicts[found] = Verdict.EXAM_ITEM


def rank(*keys: Keys) -> list[Rows]:
    """The place of each key among the different ones of all tables, in their order.

    Equal keys have equal ranks and the smaller key has the smaller rank; a rank takes 4 bytes.
    """
    upper = np.concatenate([each[:, 0] for each in keys])
    order = np.argsort(upper)
    upper = upper[order]
    lower = np.concatenate([each[:, 1] for each in keys])[order]
    same_upper = upper[1:] == upper[:-1]
    is_new = np.ones(len(order), bool)
    is_new[1:] = ~same_upper | (lower[1:] != lower[:-1])
    if (is_new[1:] & same_upper).any():
        # Different keys with one upper half: as good as never, unless somebody makes them.
        upper = np.concatenate([each[:, 0] for each in keys])
        lower = np.concatenate([each[:, 1] for each in keys])
        order = np.lexsort((lower, upper))
        upper, lower = upper[order], lower[order]
        is_new[1:] = (upper[1:] != upper[:-1]) | (lower[1:] != lower[:-1])
    del upper, lower, same_upper
    ranks = np.empty(len(order), np.uint32)
    ranks[order] = np.cumsum(is_new, dtype=np.uint32) - np.uint32(1)
    ends = np.cumsum([len(each) for each in keys])
    return np.split(ranks, ends[:-1])
