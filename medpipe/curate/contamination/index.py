"""The n-grams of all exam items, ready to be found in training texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.contamination.config import ContaminationConfig
from medpipe.curate.contamination.kernel import hash_windows, set_bits
from medpipe.curate.contamination.units import Units, characters_of, words_of
from medpipe.records.kinds import Language

_BATCH_ROWS = 2048
_BITS_A_GRAM = 16
_LEAST_BITS, _MOST_BITS = 16, 30


class ContaminationError(ValueError):
    """The exam items cannot be searched for; the message says what to change."""


@dataclass(frozen=True)
class Windows:
    """N-grams of one length, and the items that they come from."""

    length: int
    """Units of an n-gram, or of the start by which a short item is found."""
    hashes: NDArray[np.uint64]
    """Sorted; one for each place. What has the same 64 bits is compared unit by unit."""
    places: NDArray[np.int64]
    """Where in the exam units each n-gram stands."""
    spans: NDArray[np.int64]
    """Units from there on that must be the same: `length`, or those of a whole short item."""
    bits: NDArray[np.uint64]
    """Words of a Bloom filter; most texts are told apart from exams by it alone."""

    @property
    def shift(self) -> np.uint64:
        """Bits of a hash below the part that names a word of the filter."""
        return np.uint64(65 - len(self.bits).bit_length())


@dataclass(frozen=True)
class ExamUnits:
    """All exam items of one sort of unit."""

    units: NDArray[Any]
    ends: NDArray[np.int64]
    items: pl.Series
    """Id of each row."""
    needed: NDArray[np.float64]
    """Part of each row's n-grams that a text must have."""
    ngrams: NDArray[np.int64]
    """How many n-grams of each row are looked for; a short item is one."""
    windows: tuple[Windows, ...]

    def rows_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows whose units stand at some places."""
        return np.asarray(np.searchsorted(self.ends, places, side="right") - 1, np.int64)


@dataclass(frozen=True)
class ExamIndex:
    """Exam items by their n-grams; made by `build`."""

    config: ContaminationConfig
    characters: ExamUnits
    """Chinese items, as characters of the fold."""
    words: ExamUnits
    """All others, as words."""
    facts: dict[str, int] = field(default_factory=dict)
    """Items, n-grams, items too short to look for, phrases in too many items."""

    @classmethod
    def build(
        cls,
        items: pl.DataFrame,
        *,
        config: ContaminationConfig = ContaminationConfig(),  # noqa: B008 - frozen
    ) -> Self:
        """Indexes exam items.

        Args:
            items: columns `id`, `text`, `lang` (zh, en or other) and, if there are any, `is_answer`; an item
                may have several texts, a row each. An item in `other` is looked for both ways.
            config: lengths and limits.

        Raises:
            ContaminationError: the items have more units than `most_units`.
        """
        if "is_answer" not in items.columns:
            items = items.with_columns(is_answer=pl.lit(False))
        has_han = items["text"].str.contains(r"\p{Han}").fill_null(False)
        by_characters = (items["lang"].cast(pl.String) != Language.EN.value) & has_han
        by_words = (items["lang"].cast(pl.String) != Language.ZH.value) | ~has_han
        limit = config.most_units
        characters, facts = _indexed(
            items.filter(by_characters), characters_of, config.characters, config.short_characters, config
        )
        limit -= facts["units"]
        words, more = _indexed(items.filter(by_words), words_of, config.words, config.short_words, config)
        if more["units"] > limit:
            raise _too_many(config)
        total = {name: facts[name] + more[name] for name in facts}
        return cls(config, characters, words, {"items": items["id"].n_unique(), **total})


def _too_many(config: ContaminationConfig) -> ContaminationError:
    return ContaminationError(
        f"the exam items have more than {config.most_units:,} characters and words; raise 'most_units' if "
        "there is memory for 50 bytes each, or leave a source of long documents out of the exam sources"
    )


def _indexed(
    items: pl.DataFrame,
    units_of: Callable[[pl.Series], Units],
    length: int,
    shortest: int,
    config: ContaminationConfig,
) -> tuple[ExamUnits, dict[str, int]]:
    units = _all_units(items["text"], units_of, config)
    lengths = np.diff(units.ends)
    full, dropped = _full_windows(units, items["id"], length, config.most_items)
    is_short = (lengths >= shortest) & (lengths < length)
    short = _short_windows(units, shortest, is_short)
    windows = tuple(each for each in (full, short) if len(each.hashes))
    starts = np.concatenate([each.places for each in (full, short)])
    owners = np.searchsorted(units.ends, starts, side="right") - 1
    needed = np.where(items["is_answer"].to_numpy(), config.answer_share, 0.0)
    ngrams = np.bincount(owners, minlength=len(lengths))
    ids = items["id"].cast(pl.String)
    # A short text beside a longer one of the same item is no loss.
    reached = items.filter(pl.Series(lengths >= shortest, dtype=pl.Boolean))["id"].n_unique()
    facts = {
        "units": len(units.values),
        "ngrams": len(starts),
        "too_short": items["id"].n_unique() - reached,
        "common_phrases": dropped,
    }
    return ExamUnits(units.values, units.ends, ids, needed, ngrams, windows), facts


def _all_units(
    texts: pl.Series, units_of: Callable[[pl.Series], Units], config: ContaminationConfig
) -> Units:
    """The units of all items; what is held beside them is bounded by the size of a batch."""
    values, ends, total = [units_of(texts.clear()).values], [np.zeros(1, np.int64)], 0
    for batch in texts.to_frame("text").iter_slices(_BATCH_ROWS):
        units = units_of(batch["text"])
        values.append(units.values.copy())
        ends.append(units.ends[1:] + total)
        total += len(units.values)
        if total > config.most_units:
            raise _too_many(config)
    return Units(np.concatenate(values), np.concatenate(ends))


def _full_windows(units: Units, ids: pl.Series, length: int, most_items: int) -> tuple[Windows, int]:
    """Every n-gram of every item, without those that too many items have, and how many these are."""
    hashes, places, rows = _hashed(units, length, only_first=False)
    order = np.argsort(hashes, kind="stable")
    hashes, places = hashes[order], places[order]
    numbers = ids.rank("dense").cast(pl.Int64).to_numpy() if len(ids) else np.zeros(0, np.int64)
    owners = numbers[rows[order]]
    is_group = np.r_[np.ones(min(len(hashes), 1), np.bool_), hashes[1:] != hashes[:-1]]
    # Equal n-grams stand in the order of their rows, so those of one item mostly stand side by side.
    is_item = is_group | np.r_[np.zeros(min(len(hashes), 1), np.bool_), owners[1:] != owners[:-1]]
    groups = np.cumsum(is_group) - 1
    is_common = np.bincount(groups, weights=is_item) > most_items
    kept = ~is_common[groups]
    spans = np.full(int(kept.sum()), length, np.int64)
    return _windows(length, hashes[kept], places[kept], spans), int(is_common.sum())


def _short_windows(units: Units, shortest: int, is_short: NDArray[np.bool_]) -> Windows:
    """The first units of each short item, which lead to the whole of it."""
    hashes, places, rows = _hashed(units, shortest, only_first=True)
    chosen = is_short[rows]
    hashes, places, rows = hashes[chosen], places[chosen], rows[chosen]
    order = np.argsort(hashes, kind="stable")
    return _windows(shortest, hashes[order], places[order], np.diff(units.ends)[rows[order]])


def _hashed(
    units: Units, length: int, *, only_first: bool
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    lengths = np.diff(units.ends)
    room = int(np.maximum(np.minimum(lengths, length) - length + 1, 0).sum() if only_first else 0)
    room = room if only_first else int(np.maximum(lengths - length + 1, 0).sum())
    hashes, places, rows = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    hash_windows(units.values, units.ends, length, hashes, places, rows, only_first)
    return hashes, places, rows


def _windows(
    length: int, hashes: NDArray[np.uint64], places: NDArray[np.int64], spans: NDArray[np.int64]
) -> Windows:
    size = min(max((len(hashes) * _BITS_A_GRAM).bit_length(), _LEAST_BITS), _MOST_BITS)
    windows = Windows(length, hashes, places, spans, np.zeros(2 ** (size - 6), np.uint64))
    set_bits(hashes, windows.bits, windows.shift)
    return windows


def batches(texts: pl.Series, rows: int = _BATCH_ROWS) -> Iterator[tuple[int, pl.Series]]:
    """The texts in slices, each with the position of its first row."""
    for start in range(0, len(texts), rows):
        yield start, texts[start : start + rows]
