"""The shingles of texts, as hashes: what similarity is measured on.

Chinese, and all languages but English, are cut into character n-grams of the text as content keys see it:
case, width, spaces, punctuation and role names are left out, so that two texts with the same content key
have the same shingles, and neither layout nor template makes a difference. English is cut into word
n-grams, where a word is a run of letters, digits and symbols in lower case. A text shorter than a shingle
is one shingle; a text without letters and digits has none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from medpipe.curate.near_duplicates.config import NearDuplicateConfig
from medpipe.records.kinds import Language


class Shingles(NamedTuple):
    """Shingle hashes of rows, one after the other; those of row `n` are `hashes[ends[n]:ends[n + 1]]`."""

    hashes: NDArray[np.uint64]
    """In the order of the text, with repetitions."""
    ends: NDArray[np.int64]
    """One more than there are rows."""


def hash_shingles(texts: pl.Series, langs: pl.Series, *, config: NearDuplicateConfig) -> Shingles:
    """Hashes the shingles of each text.

    Args:
        texts: String; a null has no shingles.
        langs: `zh`, `en` or `other`, row-aligned; String or Enum.
        config: n of the n-grams.

    Raises:
        ValueError: the two columns differ in length.
    """
    from medpipe.curate.near_duplicates.shingle_kernel import hash_rows, tables
    from medpipe.records.fold_kernel import fold_column
    from medpipe.records.utf8 import utf8_of

    if len(texts) != len(langs):
        raise ValueError(f"{len(texts)} texts have {len(langs)} languages; pass columns of one frame")
    by_word = (langs.cast(pl.String) == Language.EN.value).fill_null(value=False)
    text = utf8_of(texts)
    is_any = bool(by_word.any())
    folded = fold_column(texts.zip_with(~by_word, pl.Series([""])) if is_any else texts)
    lengths = np.diff(text.offsets)[by_word.to_numpy()]
    words = np.empty(int(lengths.max(initial=0)) // 2 + 1, np.uint64)
    # Of words there are no more than half of the bytes, of characters no more than units.
    most = int(folded.ends[-1]) + int((lengths // 2 + 1).sum())
    hashes, ends = np.empty(most, np.uint64), np.zeros(len(texts) + 1, np.int64)
    hash_rows(
        folded.units,
        folded.ends,
        text.data,
        text.offsets,
        by_word.to_numpy(),
        config.characters,
        config.words,
        *tables(),
        words,
        hashes,
        ends,
    )
    return Shingles(hashes[: ends[-1]], ends)
