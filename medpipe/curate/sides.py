"""The side of every content key that any corpus kept, or left out beside a relative that it kept.

A key's side is for good, so every build adds the keys that are new and changes none. It adds those of all
data sets that are split, whichever of them it makes: what it finds depends on the sources and not on the data
set. So a data set that was made of other sources and is taken up again cannot disagree with a newer one, and
a corpus that was pruned leaves its sides behind. Recipes need not name them.

What is left out counts as its kept relatives do: a duplicate of a text that was trained on is never held out
later, when that text is gone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.purposes import Purpose, kept_parts
from medpipe.curate.record_table import Flags, Keys, batches_of, halves
from medpipe.lake.dataset import Dataset, current, is_whole, publish, whole_datasets
from medpipe.lake.digest import sha256_file
from medpipe.lake.files import locked_folder
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError, Recipe
from medpipe.lake.parquet import ParquetSink
from medpipe.records.kinds import Split

ROOM, NAME = "splits", "records"
FILE = "part-00000.parquet"
CODE_VERSION = "1"
SIDES = pl.Schema({"high": pl.UInt64, "low": pl.UInt64, "is_held_out": pl.Boolean})
"""A row for each content key, in two halves, in their order."""
_CORPUS = "corpus"
_WRITTEN_ROWS = 65_536


class Before:
    """What earlier corpora did with content keys; good while the block of `sides_before` lasts."""

    def __init__(self, lake: Lake, keys: Keys, is_held_out: Flags, digest: str | None) -> None:
        self._lake = lake
        self.keys = keys
        """Each once."""
        self.is_held_out = is_held_out
        self._digest = digest

    def add(self, keys: Keys, is_held_out: Flags) -> None:
        """Notes the sides of more keys.

        Args:
            keys: each once, and none of those that are known.
            is_held_out: the side of each.

        Raises:
            DiskFullError: the disk filled; what was known stays.
        """
        if not len(keys) and self._digest is not None:
            return
        before = {} if self._digest is None else {"before": self._digest}
        if self._digest is None and len(self.keys):
            # What was found again has no digest, but other content is another recipe.
            before = {"found": str(pl.DataFrame(self.keys).hash_rows().sum())}
        added = pl.DataFrame({"high": keys[:, 0], "low": keys[:, 1], "is_held_out": is_held_out})
        recipe = Recipe(
            # Content, not a count: another build may have added as many.
            inputs=before | {"added": str(added.hash_rows().sum())},
            code_version=CODE_VERSION,
        )
        every = np.concatenate([self.keys, keys])
        held_out = np.concatenate([self.is_held_out, is_held_out])
        order = np.lexsort((every[:, 1], every[:, 0]))
        with publish(self._lake, ROOM, NAME, recipe=recipe) as draft:
            with ParquetSink(draft.path / FILE, schema=SIDES) as sink:
                for start in range(0, len(order), _WRITTEN_ROWS):
                    rows = order[start : start + _WRITTEN_ROWS]
                    columns = {"high": every[rows, 0], "low": every[rows, 1], "is_held_out": held_out[rows]}
                    sink.write(pl.DataFrame(columns, schema=SIDES))
            draft.rows = draft.rows_by_file[FILE] = sink.rows
            draft.content_digest = sink.content.hexdigest()


@contextmanager
def sides_before(lake: Lake, *, progress: Callable[[str], None] | None = None) -> Iterator[Before]:
    """Reads the sides; until the block is left no other process changes them.

    Where they are missing or damaged they are taken from all stored corpora and from older sides, as far as
    these are undamaged; those of records that were left out beside kept ones are known to older sides only.
    Damaged sides are put aside, in a hidden folder.

    Args:
        lake: the lake.
        progress: takes one line of news at a time.
    """
    folder = lake.room(ROOM)
    folder.mkdir(parents=True, exist_ok=True)
    with locked_folder(folder):
        newest = _newest(lake, progress or (lambda _: None))
        if newest is not None:
            yield newest
            return
        found = _from_everywhere(lake)
        yield Before(lake, found.select("high", "low").to_numpy(), found["is_held_out"].to_numpy(), None)


def _newest(lake: Lake, say: Callable[[str], None]) -> Before | None:
    try:
        dataset = current(lake, ROOM, NAME)
    except ManifestError:
        return None
    dataset = dataset.fetched()
    if not is_whole(dataset.path, dataset.manifest) or not all(map(_undamaged(dataset), dataset.files(FILE))):
        # Left in its place it would be taken for what is published anew with equal content.
        aside = dataset.path.with_name(f".damaged-{dataset.path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        dataset.path.rename(aside)
        say(f"{ROOM}/{NAME} is damaged, put aside as {aside}; sides are taken from stored corpora")
        return None
    keys = np.empty((dataset.manifest.rows, 2), np.uint64)
    is_held_out: NDArray[np.bool_] = np.empty(len(keys), bool)
    at = 0
    for batch in batches_of(dataset):
        here = slice(at, at + batch.height)
        keys[here, 0], keys[here, 1] = batch["high"], batch["low"]
        is_held_out[here] = batch["is_held_out"].to_numpy()
        at += batch.height
    return Before(lake, keys, is_held_out, dataset.digest)


def _from_everywhere(lake: Lake) -> pl.DataFrame:
    """The columns of `SIDES`; what anything trained on was trained on."""
    frames = [SIDES.to_frame().lazy()]
    for dataset in whole_datasets(lake, ROOM, NAME):
        frames += map(pl.scan_parquet, filter(_undamaged(dataset), dataset.files(FILE)))
    for purpose in Purpose:
        for dataset in [] if purpose is Purpose.EXAMS else whole_datasets(lake, _CORPUS, purpose.value):
            frames += map(_of_part, filter(_undamaged(dataset), kept_parts(dataset)))
    return pl.concat(frames).group_by("high", "low").agg(pl.col("is_held_out").all()).collect()


def _undamaged(dataset: Dataset) -> Callable[[Path], bool]:
    """Says of the data set's files whether their content is that of the manifest."""
    digests = {dataset.path / file.path: file.sha256 for file in dataset.manifest.files}
    return lambda path: sha256_file(path) == digests.get(path)


def _of_part(part: Path) -> pl.LazyFrame:
    return pl.scan_parquet(part).select(
        *halves("content_key", "high", "low"),
        is_held_out=pl.col("split").cast(pl.String) != Split.TRAIN.value,
    )
