"""Which member of a cluster stays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def choose_best(
    clusters: NDArray[Any],
    *,
    is_refined: NDArray[np.bool_],
    characters: NDArray[Any],
    sources: NDArray[Any],
    ids: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Names the member of each cluster that is kept; works on keys, never on texts.

    The rule, each line deciding where those before it leave a tie:

    1. A refined document before a raw one: the tier is what is known about quality.
    2. The longer text: of two versions the shorter is more often the cut one.
    3. The source that stands first in the catalog: a person's statement of which publisher comes first.
    4. The smaller id, so that the choice never depends on the order of rows.

    Args:
        clusters: one value a document.
        is_refined: whether its tier is `refined`.
        characters: length of its text.
        sources: place of its source in the catalog.
        ids: its id in two halves, the upper first.

    Returns:
        For each document the position of the kept member: its own where it stays.
    """
    lengths = np.iinfo(np.int64).max - characters.astype(np.int64)
    order = np.lexsort((ids[:, 1], ids[:, 0], sources, lengths, ~is_refined, clusters))
    ordered = clusters[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    kept = np.empty(len(order), np.int64)
    kept[order] = order[is_first][np.cumsum(is_first) - 1]
    return kept
