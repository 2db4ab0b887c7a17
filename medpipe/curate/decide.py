"""What happens to each record, decided on keys and judgements: kept or rejected, trained on or held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpipe.catalog.source import Source
from medpipe.curate.duplicates import first_of_each
from medpipe.curate.near_duplicates.best import choose_best
from medpipe.curate.purposes import Purpose
from medpipe.curate.record_table import NONE, Flags, RecordTable, Rows, Verdict
from medpipe.curate.split import Sides


class Relations(NamedTuple):
    """What makes records duplicates of each other, a value each."""

    content: Rows
    """Rank of the content key, of what is left where personal data is replaced."""
    clusters: Rows
    """Near-duplicates; `NONE` outside."""


@dataclass(frozen=True)
class Decisions:
    """What becomes of every record in one data set."""

    records: RecordTable
    verdicts: NDArray[np.uint8]
    """A `Verdict` each; of records that do not feed the data set it says nothing."""
    duplicate_of: Rows
    """The row of the kept record that a duplicate is left out for; `NONE` for all others."""
    is_held_out: Flags


def decide(
    records: RecordTable,
    relations: Relations,
    held_out: Sides,
    sources: Mapping[str, Source],
    *,
    purpose: Purpose,
) -> Decisions:
    """Decides about every record of the sources that feed a data set.

    Args:
        records: all records of all sources.
        relations: what makes them duplicates.
        held_out: from `sides`; exams keep their publisher's.
        sources: the catalog's entries by id.
        purpose: the data set to decide for.
    """
    verdicts = records.verdicts.copy()
    if purpose is not Purpose.EXAMS:
        # Before duplicates are looked for: what is left out must not take its copies with it.
        verdicts[(verdicts == Verdict.KEPT) & held_out.was_seen] = Verdict.HELD_OUT_BUT_SEEN
    duplicate_of = _mark_duplicates(records, relations, verdicts, sources, purpose)
    return Decisions(records, verdicts, duplicate_of, held_out.is_held_out)


def kept_records(
    records: RecordTable, relations: Relations, sources: Mapping[str, Source], purpose: Purpose
) -> Flags:
    """Which records a data set keeps before anything is known of sides."""
    verdicts = records.verdicts.copy()
    _mark_duplicates(records, relations, verdicts, sources, purpose)
    return is_kept(records, verdicts, sources, purpose)


def is_kept(
    records: RecordTable,
    verdicts: NDArray[np.uint8],
    sources: Mapping[str, Source],
    purpose: Purpose,
) -> Flags:
    """Which records feed a data set and have the verdict that they are kept."""
    flags: Flags = (verdicts == Verdict.KEPT) & _feeding(records, sources, purpose)
    return flags


def _feeding(records: RecordTable, sources: Mapping[str, Source], purpose: Purpose) -> Flags:
    return records.feeding({source_id: purpose.takes(sources[source_id]) for source_id in records.rows_of})


def _mark_duplicates(
    records: RecordTable,
    relations: Relations,
    verdicts: NDArray[np.uint8],
    sources: Mapping[str, Source],
    purpose: Purpose,
) -> Rows:
    """Marks duplicates among what the verdicts keep, and names the kept record of each.

    Of equal records the first stays, in the catalog's order; of near-duplicates the best (see
    `choose_best`). A copy of a near-duplicate is a near-duplicate of what is kept.
    """
    duplicate_of = np.full(len(records), NONE, np.uint32)
    feeding = _feeding(records, sources, purpose)
    rows = np.flatnonzero(feeding & (verdicts == Verdict.KEPT)).astype(np.uint32)
    first = rows[first_of_each(relations.content[rows])]
    is_copy = first != rows
    copies = rows[is_copy]
    duplicate_of[copies] = first[is_copy]
    verdicts[copies] = Verdict.EXACT_DUPLICATE
    if purpose is Purpose.EXAMS:
        return duplicate_of
    rows = rows[~is_copy]
    del first, is_copy
    rows = rows[relations.clusters[rows] != NONE]
    starts = np.array([each.start for each in records.rows_of.values()], np.int64)
    best = rows[
        choose_best(
            relations.clusters[rows],
            is_refined=records.is_refined[rows],
            characters=records.characters[rows],
            # The last of the sources that start there: those before it are empty.
            sources=(np.searchsorted(starts, rows, side="right") - 1).astype(np.uint16),
            ids=records.ids[rows],
        )
    ]
    is_worse = best != rows
    duplicate_of[rows[is_worse]] = best[is_worse]
    verdicts[rows[is_worse]] = Verdict.NEAR_DUPLICATE
    of_copies = duplicate_of[duplicate_of[copies]]
    is_moved = of_copies != NONE
    duplicate_of[copies[is_moved]] = of_copies[is_moved]
    verdicts[copies[is_moved]] = Verdict.NEAR_DUPLICATE
    return duplicate_of
