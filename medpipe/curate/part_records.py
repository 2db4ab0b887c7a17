"""A source's records with what was decided about them, batch by batch, and what is counted of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import polars as pl

from medpipe.catalog.source import Source
from medpipe.curate.config import CurateConfig
from medpipe.curate.privacy.scrub import scrub
from medpipe.curate.purposes import Purpose
from medpipe.curate.verdicts import EXACT_DUPLICATE, SourceVerdicts
from medpipe.lake.dataset import Dataset
from medpipe.lake.digest import FrameDigest
from medpipe.lake.tombstones import WITHDRAWN
from medpipe.records.keys import joined_content

BATCH_ROWS = 4096
PLACE_IN_BATCH = "place in batch"
_RAW_CHARACTERS = 2000
_PLACE = ("source", "revision", "path", "row", "part", "content_key", "domain")
"""Columns that say where a record came from; a new revision that changes only them changes no shard."""
_WITHOUT_TEXT = (EXACT_DUPLICATE, WITHDRAWN)
"""Reasons whose rejected rows hold no text: it stands in the record that `detail` names, or nowhere."""


class Counts:
    """What is counted while a part is written."""

    def __init__(self) -> None:
        self.reasons, self.languages, self.tiers = Counter[str](), Counter[str](), Counter[str]()
        self.text_bytes, self.lengths = Counter[str](), Counter[str]()
        self.domains: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.digests: defaultdict[str, FrameDigest] = defaultdict(FrameDigest)

    def add(self, kept: pl.DataFrame, dropped: pl.DataFrame) -> None:
        """Counts a batch."""
        self.reasons.update(_sizes(dropped, "reason"))
        self.languages.update(_sizes(kept, "lang"))
        for domain, split, rows in kept.group_by("domain", "split").len().iter_rows():
            self.domains[domain][split] += rows
        for (domain,), members in kept.partition_by("domain", as_dict=True).items():
            self.digests[str(domain)].update(members.drop(_PLACE))
        if "tier" in kept.columns:
            self.tiers.update(_sizes(kept, "tier"))
            sizes = kept.group_by("domain").agg(pl.col("text").str.len_bytes().sum())
            self.text_bytes.update(dict(sizes.iter_rows()))
            classes = kept.select(length_class(pl.col("text")).cast(pl.String).alias("class"))
            self.lengths.update(_sizes(classes, "class"))


def length_class(text: pl.Expr) -> pl.Expr:
    """Class of a text by its characters, as Int64: n holds from 2^(n/2) up to 2^((n+1)/2) characters."""
    # A little more than the length, so that a power of two is not rounded into the class below it.
    return (2 * (text.str.len_chars().clip(lower_bound=1) + 1e-6).log(2)).floor().cast(pl.Int64)


def _sizes(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(pl.col(column).cast(pl.String)).len().iter_rows())


def judged_batches(
    purpose: Purpose, source: Source, normalized: Dataset, verdicts: SourceVerdicts
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Batches of (kept records with their final split, rejected records with reason and detail).

    Both have a column `PLACE_IN_BATCH`, the place that they had beside each other.
    """
    done = 0
    waiting = _Waiting(verdicts.frames())
    for batch in purpose.batches(source, normalized, rows=BATCH_ROWS):
        verdict = waiting.take(batch.height)
        if not batch["id"].equals(verdict["id"]):
            raise RuntimeError(f"{source.id}: the records changed between two readings; build again")
        done += batch.height
        judged = batch.with_row_index(PLACE_IN_BATCH).with_columns(verdict["reason"], verdict["detail"])
        if purpose is not Purpose.EXAMS:
            judged = judged.with_columns(verdict["held_out"].alias("split"))
        if "tier" in batch.columns:
            judged = judged.with_columns(verdict["tier"])
        is_kept = pl.col("reason").is_null()
        yield judged.filter(is_kept).drop("reason", "detail"), judged.filter(~is_kept)
    if done != len(verdicts):
        raise RuntimeError(f"{source.id}: {done:,} records where {len(verdicts):,} were decided; build again")


class _Waiting:
    """Rows of frames, taken in other portions than they come in."""

    def __init__(self, frames: Iterator[pl.DataFrame]) -> None:
        self._frames = frames
        self._first: pl.DataFrame | None = None

    def take(self, rows: int) -> pl.DataFrame:
        """The next rows; fewer where the frames end."""
        taken: list[pl.DataFrame] = []
        while True:
            if self._first is None:
                self._first = next(self._frames, None)
            if self._first is None:
                break
            taken.append(self._first.head(rows))
            self._first = self._first.slice(taken[-1].height)
            rows -= taken[-1].height
            if rows == 0:
                break
            self._first = None
        return pl.concat(taken)


def as_rejected(dropped: pl.DataFrame, purpose: Purpose, config: CurateConfig) -> pl.DataFrame:
    """Rows of the `Rejected` schema, with the beginning of their text, personal data replaced."""
    rows = dropped.select(
        "source",
        "revision",
        "path",
        "row",
        "reason",
        "detail",
        raw=pl.when(~pl.col("reason").is_in(_WITHOUT_TEXT)).then(joined_content(purpose.kind)),
    )
    if config.privacy is not None:
        # Before it is cut: half a number is no number to the rules.
        rows = rows.with_columns(scrub(rows["raw"], config=config.privacy).texts.alias("raw"))
    return rows.with_columns(pl.col("raw").str.head(_RAW_CHARACTERS))
