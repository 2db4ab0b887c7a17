"""Finds the texts that repeat an exam item."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.contamination.index import ExamIndex, ExamUnits, Windows, batches
from medpipe.curate.contamination.kernel import find_windows
from medpipe.curate.contamination.units import Units, characters_of, word_places, words_of
from medpipe.records.kinds import Language

SCHEMA = pl.Schema(
    {
        "position": pl.Int64,
        "exam_id": pl.String,
        "item_share": pl.Float64,
        "share": pl.Float64,
        "span": pl.String,
    }
)
"""`position` is the row of the text; `exam_id` the item of which most was found, `item_share` the part of its
n-grams; `share` the part of the text's characters or words that stand in n-grams of exams; `span` the first
passage that does: Chinese as folded, other languages as in the text, cut to 500 characters."""

_SHOWN = 500


def find_contaminated(texts: pl.Series, langs: pl.Series, index: ExamIndex) -> pl.DataFrame:
    """The texts that share an n-gram, or a whole short item, with an exam item.

    Spaces, punctuation, case and width make no difference. A text is searched for Chinese items if it has
    Chinese characters, whatever its language is said to be, and for items in other languages if it has two
    words of Latin letters side by side or is not Chinese.

    Args:
        texts: String; a null has nothing in it.
        langs: language of each text (zh, en or other).
        index: the exam items.

    Returns:
        A row for each such text, in order; columns of `SCHEMA`.
    """
    has_han = texts.str.contains(r"\p{Han}").fill_null(False)
    has_words = texts.str.contains(r"[A-Za-z]\s+[A-Za-z]").fill_null(False)
    is_spaced = has_words | (langs.cast(pl.String) != Language.ZH.value).fill_null(True)
    found = [SCHEMA.to_frame()]
    for rows, exam, is_words in ((has_han, index.characters, False), (is_spaced, index.words, True)):
        positions = rows.arg_true()
        for start, batch in batches(texts.gather(positions)) if exam.windows else ():
            units = words_of(batch) if is_words else characters_of(batch)
            hits = _hits(units, exam)
            shown = _passages_in_text if is_words else _passages_folded
            found.append(
                hits.select(
                    positions.gather(hits["row"] + start).cast(pl.Int64).alias("position"),
                    exam.items.gather(hits["item"]).alias("exam_id"),
                    "item_share",
                    "share",
                    pl.Series("span", shown(units, batch, hits), dtype=pl.String),
                )
            )
    both = pl.concat(found).sort("position", "share", descending=[False, True], maintain_order=True)
    return both.unique("position", keep="first", maintain_order=True)


_NOTHING = np.empty((0, 3), np.int64)


def _hits(units: Units, exam: ExamUnits) -> pl.DataFrame:
    """What the rows have of exams, where it is enough of any item.

    Returns:
        A row for each such row of the units: `row`, `item` (its row in the exams), `item_share`, `share`, and
        `start` and `end` of its first passage.
    """
    has_any = np.zeros(len(units.ends) - 1, np.bool_)
    for windows in exam.windows:
        _run(units, exam, windows, has_any, _NOTHING)
    matches = np.concatenate([_matches(units, exam, windows, ~has_any) for windows in exam.windows])
    rows = np.asarray(np.searchsorted(units.ends, matches[:, 0], side="right") - 1)
    found = pl.DataFrame(
        {
            "row": rows,
            "item": exam.rows_at(matches[:, 1]),
            "place": matches[:, 1],
            "start": matches[:, 0],
            "end": matches[:, 0] + matches[:, 2],
        }
    )
    # Each n-gram of an item counts once, however often the text has it.
    by_item = found.group_by("row", "item").agg(ngrams=pl.col("place").n_unique())
    enough = by_item.with_columns(
        item_share=pl.col("ngrams") / pl.Series(exam.ngrams[by_item["item"]]),
        needed=pl.Series(exam.needed[by_item["item"]]),
    ).filter(pl.col("item_share") >= pl.col("needed"))
    best = enough.sort("row", "item_share", "item", descending=[False, True, False]).unique(
        "row", keep="first"
    )
    lengths = np.diff(units.ends)[best["row"]]
    return (
        best.select("row", "item", "item_share", units=pl.Series(lengths, dtype=pl.Int64))
        .join(_passages(found.join(enough, on=("row", "item"), how="semi")), on="row")
        .with_columns(share=pl.col("covered") / pl.col("units"))
        .sort("row")
    )


def _run(
    units: Units, exam: ExamUnits, windows: Windows, is_done: NDArray[np.bool_], matches: NDArray[np.int64]
) -> int:
    return int(
        find_windows(
            units.values,
            units.ends,
            windows.length,
            windows.hashes,
            windows.places,
            windows.spans,
            exam.units,
            windows.bits,
            windows.shift,
            is_done,
            matches,
        )
    )


def _matches(
    units: Units, exam: ExamUnits, windows: Windows, is_done: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Start in the units, place in the exams and length of each n-gram in the rows that are not done."""
    room = np.empty((int(np.diff(units.ends)[~is_done].sum()), 3), np.int64)
    count = _run(units, exam, windows, is_done, room)
    if count > len(room):  # several items with the same n-gram
        room = np.empty((count, 3), np.int64)
        _run(units, exam, windows, is_done, room)
    return room[:count]


def _passages(matches: pl.DataFrame) -> pl.DataFrame:
    """By row: start and end of the first passage, and the units covered by all.

    A passage is made of matches that touch or overlap. Rows lie one after the other, so the end reached so
    far never goes beyond a row's own.
    """
    ordered = matches.sort("start")
    before = pl.col("end").cum_max().shift(1)
    is_new = (pl.col("start") > before) | (pl.col("row") != pl.col("row").shift(1))
    passages = (
        ordered.with_columns(passage=is_new.fill_null(True).cast(pl.Int64).cum_sum())
        .group_by("passage", maintain_order=True)
        .agg(pl.col("row").first(), pl.col("start").min(), pl.col("end").max())
    )
    covered = (pl.col("end") - pl.col("start")).sum()
    return passages.group_by("row", maintain_order=True).agg(
        pl.col("start").first(), pl.col("end").first(), covered=covered
    )


def _passages_folded(units: Units, batch: pl.Series, hits: pl.DataFrame) -> list[str]:
    return [
        units.values[start : min(end, start + _SHOWN)].tobytes().decode("utf-16", errors="replace")
        for start, end in hits.select("start", "end").iter_rows()
    ]


def _passages_in_text(units: Units, batch: pl.Series, hits: pl.DataFrame) -> list[str]:
    shown = []
    for row, start, end in hits.select("row", "start", "end").iter_rows():
        places = word_places(batch[row])
        first, last = start - units.ends[row], end - units.ends[row] - 1
        passage = batch[row].encode()[places[first, 0] : places[last, 1]]
        shown.append(passage.decode()[:_SHOWN])
    return shown
