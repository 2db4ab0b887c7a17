from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from medpipe.curate.near_duplicates.overlap import (
    OVERLAP,
    count_kinds,
    count_overlap,
    draw_overlap,
    overlap_matrix,
)

MEMBERS = pl.DataFrame(
    [
        ("a", 1),
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("c", 2),
        ("b", 3),
        ("b", 3),
        ("c", 4),
        ("c", None),
        ("a", None),
    ],
    schema={"source": pl.Enum(["b", "a", "c"]), "group": pl.Int64},
    orient="row",
)


def test_documents_and_groups_are_counted_from_both_sides() -> None:
    found = count_overlap(MEMBERS)
    assert found.rows() == [
        ("b", "b", 1, 2),
        ("b", "a", 1, 1),
        ("a", "b", 1, 2),
        ("a", "a", 1, 2),
        ("a", "c", 1, 1),
        ("c", "a", 1, 1),
    ]


def test_the_matrix_has_every_source_and_shares_of_its_documents() -> None:
    matrix = overlap_matrix(count_overlap(MEMBERS), {"b": 3, "a": 4, "c": 3, "d": 0})
    assert matrix.columns == ["source", "b", "a", "c", "d"]
    assert matrix.rows() == [
        ("b", 2 / 3, 1 / 3, 0.0, 0.0),
        ("a", 0.5, 0.5, 0.25, 0.0),
        ("c", 0.0, 1 / 3, 0.0, 0.0),
        ("d", 0.0, 0.0, 0.0, 0.0),
    ]


def test_the_picture_is_drawn_of_few_sources_and_of_none() -> None:
    for totals in ({}, {"b": 3}, {"b": 3, "a": 4, "c": 3}):
        picture = draw_overlap(overlap_matrix(count_overlap(MEMBERS), totals))
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 2000


NAMES = ["a", "b", "c"]


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 5), st.none() | st.integers(0, 2)), max_size=25)
)
def test_exact_and_near_are_what_comparing_all_pairs_gives(rows: list[tuple[str, int, int | None]]) -> None:
    schema: dict[str, Any] = {"source": pl.Enum(NAMES), "content": pl.UInt32, "cluster": pl.UInt32}
    found = {
        (source, other, kind): (groups, documents)
        for source, other, groups, documents, kind in count_kinds(
            pl.DataFrame(rows, schema=schema, orient="row")
        ).iter_rows()
    }
    expected: dict[tuple[str, str, str], tuple[set[int], int]] = {}
    for place, (source, content, cluster) in enumerate(rows):
        for other in NAMES:
            others = [row for at, row in enumerate(rows) if at != place and row[0] == other]
            if any(row[1] == content for row in others):
                kind, group = "exact", content
            elif cluster is not None and any(row[2] == cluster for row in others):
                kind, group = "near", cluster
            else:
                continue
            groups, documents = expected.setdefault((source, other, kind), (set(), 0))
            expected[source, other, kind] = groups | {group}, documents + 1
    assert found == {key: (len(groups), documents) for key, (groups, documents) in expected.items()}


def test_the_matrix_takes_kinds_together() -> None:
    facts = [
        {"source": "a", "other": "b", "groups": 1, "documents": 2, "kind": "exact"},
        {"source": "a", "other": "b", "groups": 1, "documents": 1, "kind": "near"},
    ]
    matrix = overlap_matrix(pl.DataFrame(facts, schema=OVERLAP), {"a": 4, "b": 3})
    assert matrix.rows() == [("a", 0.0, 0.75), ("b", 0.0, 0.0)]


def test_nothing_shared() -> None:
    assert count_overlap(MEMBERS.clear()).is_empty()
