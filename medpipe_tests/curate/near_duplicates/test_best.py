from __future__ import annotations

from random import Random

import numpy as np

from medpipe.curate.near_duplicates.best import choose_best

SOURCES = ["first", "second"]
ROWS = [
    # cluster, id, source, tier, characters, the kept member
    (1, "a", "first", "raw", 900, "b"),
    (1, "b", "second", "refined", 100, None),
    (2, "c", "first", "refined", 100, "d"),
    (2, "d", "second", "refined", 101, None),
    (3, "e", "second", "raw", 50, "f"),
    (3, "f", "first", "raw", 50, None),
    (4, "h", "first", "raw", 50, "g"),
    (4, "g", "first", "raw", 50, None),
    (5, "i", "first", "raw", 50, None),
]


def kept(rows: list[tuple[int, str, str, str, int, str | None]]) -> list[str | None]:
    best = choose_best(
        np.array([row[0] for row in rows], np.uint32),
        ids=np.array([[0, ord(row[1])] for row in rows], np.uint64).reshape(-1, 2),
        sources=np.array([SOURCES.index(row[2]) for row in rows], np.uint16),
        is_refined=np.array([row[3] == "refined" for row in rows], bool),
        characters=np.array([row[4] for row in rows], np.uint32),
    )
    return [None if at == own else rows[at][1] for own, at in enumerate(best)]


def test_tier_then_length_then_catalog_then_id_whatever_the_order_of_rows() -> None:
    for seed in range(5):
        rows = Random(seed).sample(ROWS, len(ROWS))
        assert kept(rows) == [row[5] for row in rows]


def test_no_rows() -> None:
    assert kept([]) == []
