"""Exact duplicates by key: which member of a group is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def first_of_each(keys: NDArray[Any]) -> NDArray[np.uint32]:
    """Names the kept member of each record's group; works on keys, never on texts.

    The first member is kept, in the order of the catalog's sources and, within one source, in the
    order in which it was published (path, row, part). The order of the catalog is a person's
    statement of which publisher comes first, and the rule does not depend on how long a copy is: texts
    of one key differ in case, spaces and punctuation only, or in personal data that is replaced.

    Args:
        keys: the rank of each record's key, in that order.

    Returns:
        For each record the position of the kept member: its own where it stays.
    """
    positions = np.arange(len(keys), dtype=np.uint32)
    first = np.empty(int(keys.max()) + 1 if len(keys) else 0, np.uint32)
    # Of several values for one place the last one stays.
    first[keys[::-1]] = positions[::-1]
    kept: NDArray[np.uint32] = first[keys]
    return kept
