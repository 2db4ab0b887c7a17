"""Which records are held out for validation.

Records that belong together stand on one side: those with the same content key, also where they only have it
once personal data is replaced, near-duplicates, documents about the same thing (`family`) and answers to the
same question. Such groups are made over all sources and all data sets, before anything is dropped, so that no
copy or relative of a held-out text, whoever published it, is trained on.

1. A group of which an earlier corpus trained on a member stays on the side of training, and one of which it
   only held out members stays held out. Of the former what an earlier corpus or a publisher holds out is left
   out: a key never changes its side, so that no two data sets ever disagree about one.
2. Else a group is held out if any publisher holds any record of it out (validation or test), whatever that
   source is used for.
3. Else it is held out if the last 32 bits of its smallest content key, read as a fraction of 2^32, are below
   the share. Keys are hashes, so this is a fair draw, whatever the size of the group.
4. A domain with enough kept records but none held out gives up the group of the record with its smallest key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medpipe.curate.family import MOST_RECORDS
from medpipe.curate.record_table import DOMAINS, NONE, Flags, RecordTable, Rows, Verdict

KEY_RANGE = 2**32
"""Number of values of a content key's last 32 bits."""
UNKNOWN, TRAINED, HELD_OUT = 0, 1, 2
"""What an earlier corpus did with a content key."""


class Sides(NamedTuple):
    """On which side each record stands."""

    is_held_out: Flags
    was_seen: Flags
    """Held out by its publisher or before, though relatives were trained on."""


def groups(records: RecordTable, ranks: Rows, scrubbed: Rows, clusters: Rows) -> NDArray[Any]:
    """The group of each record: the position of its first member. What was withdrawn relates nothing.

    Args:
        records: all records of all sources.
        ranks: of their content keys (see `rank`).
        scrubbed: of the keys of what `RecordTable.scrubbed` names, among the same ranks.
        clusters: of near-duplicates, `NONE` outside.

    Returns:
        Int32, or Int64 where there are too many records.
    """
    # Imported here: it brings a compiler, which definitions must not wait for.
    from medpipe.curate.near_duplicates.pair_kernel import roots, unite_neighbours

    parents = np.arange(len(records), dtype=np.int32 if len(records) < 2**31 else np.int64)
    is_here = records.verdicts != Verdict.WITHDRAWN

    def unite(members: NDArray[Any], values: NDArray[Any]) -> None:
        order = np.argsort(values)
        values, members = values[order], members[order]
        del order
        unite_neighbours(parents, members, _changes(values))

    changed = records.scrubbed[0]
    here = np.flatnonzero(is_here).astype(np.uint32)
    changed_here = is_here[changed]
    unite(
        np.concatenate([here, changed[changed_here]]), np.concatenate([ranks[here], scrubbed[changed_here]])
    )
    del here
    for values, nothing in ((clusters, NONE), (records.families, 0)):
        related = np.flatnonzero((values != nothing) & is_here).astype(np.uint32)
        unite(related, values[related])
    asked = np.flatnonzero((records.questions != 0) & is_here).astype(np.uint32)
    asked = _asked_seldom(asked, records.questions, ranks)
    unite(asked, records.questions[asked])
    roots(parents)
    return parents


def _changes(values: NDArray[Any]) -> Flags:
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes


def _asked_seldom(rows: Rows, questions: NDArray[np.uint64], ranks: Rows) -> Rows:
    """The rows whose question opens no more than so many different contents."""
    order = np.lexsort((ranks[rows], questions[rows]))
    rows = rows[order]
    del order
    is_first = _changes(questions[rows])
    is_new = is_first | _changes(ranks[rows])
    number = np.cumsum(is_first, dtype=np.uint32) - np.uint32(1)
    return rows[np.bincount(number[is_new])[number] <= MOST_RECORDS] if len(rows) else rows


def drawn(keys: NDArray[np.uint64], share: float) -> Flags:
    """Whether the draw holds out what has these content keys, of which the last 32 bits matter (rule 3)."""
    return (keys & np.uint64(KEY_RANGE - 1)).astype(np.float64) / KEY_RANGE < share


def sides(
    records: RecordTable,
    ranks: Rows,
    group: NDArray[Any],
    kept: Sequence[Flags],
    known: NDArray[np.uint8],
    *,
    share: float,
    minimum_documents: int,
) -> Sides:
    """On which side each record stands.

    Args:
        records: all records of all sources.
        ranks: of their content keys.
        group: of each record (see `groups`).
        kept: the kept records of each data set that is split.
        known: what an earlier corpus did with each record's content key: `UNKNOWN`, `TRAINED`, `HELD_OUT`.
        share: fraction of the groups to draw.
        minimum_documents: a domain of a data set with this many kept records has one held out.
    """
    is_here = records.verdicts != Verdict.WITHDRAWN
    is_published = records.is_published & is_here
    trained, held_out = np.zeros(len(records), bool), np.zeros(len(records), bool)
    trained[group[(known == TRAINED) & is_here]] = True
    held_out[group[is_published | ((known != UNKNOWN) & is_here)]] = True
    # The rank orders keys, and behind it stands what is drawn by.
    smallest = np.full(len(records), np.iinfo(np.uint64).max)
    lower = records.keys[:, 1] & np.uint64(KEY_RANGE - 1)
    np.minimum.at(smallest, group, ranks.astype(np.uint64) << np.uint64(32) | lower)
    del lower
    held_out |= drawn(smallest, share)
    del smallest
    held_out &= ~trained
    for flags in kept:
        given_up = []
        for domain in range(len(DOMAINS)):
            members = np.flatnonzero(flags & (records.domains == domain)).astype(np.uint32)
            if len(members) < minimum_documents or held_out[group[members]].any():
                continue
            free = members[~trained[group[members]]]
            if len(free):
                given_up.append(group[free[np.argmin(ranks[free])]])
        held_out[given_up] = True
    is_seen = trained[group] & (is_published | (known == HELD_OUT))
    return Sides(held_out[group], is_seen)
