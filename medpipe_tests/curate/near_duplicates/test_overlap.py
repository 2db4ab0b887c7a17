from __future__ import annotations

import polars as pl

from medpipe.curate.near_duplicates.overlap import count_overlap, draw_overlap, overlap_matrix

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


def test_nothing_shared() -> None:
    assert count_overlap(MEMBERS.clear()).is_empty()
