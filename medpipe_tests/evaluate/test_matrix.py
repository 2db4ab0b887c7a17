from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from medpipe.evaluate.matrix import MatrixError, bits_per_byte_matrix, domains_of, has_learnt, measures_of
from medpipe_tests.evaluate.points import checkpoint, point


def test_a_row_a_point_and_all_comes_first(tmp_path: Path) -> None:
    there = checkpoint(tmp_path / "runs" / "c")
    matrix = bits_per_byte_matrix(
        [
            point("fast", 5, {"all": 2.5, "tcm": 3.5}, end=False),
            point("fast", 10, {"all": 2.0, "tcm": 3.0, "dialogue": 1.5}),
            point("converge", 20, {"all": 1.5, "dialogue": 1.6, "textbook": math.nan}, checkpoint=there),
        ],
        tmp_path,
    )
    assert measures_of(matrix) == ["all", "dialogue", "tcm", "textbook"]
    assert matrix["checkpoint"].to_list() == ["fast-00000005", "fast", "converge"]
    assert matrix.select("stage", "step", "tokens", "stage_end", "on_disk").rows() == [
        ("fast", 5, 5000, False, False),
        ("fast", 10, 10_000, True, False),
        ("converge", 20, 20_000, True, True),
    ]
    assert matrix.select(measures_of(matrix)).rows() == [
        (2.5, None, 3.5, None),
        (2.0, 1.5, 3.0, None),
        (1.5, 1.6, None, None),
    ]
    assert matrix["path"].to_list() == [None, None, "runs/c"]
    assert matrix["digest"].to_list() == [None, None, "d" * 32]
    assert matrix.schema["textbook"] == pl.Float64


def test_languages_stand_behind_their_domain(tmp_path: Path) -> None:
    bits = {"all": 2.0, "general/zh": 1.0, "general": 1.5, "general/en": 2.0, "disease": 2.5}
    matrix = bits_per_byte_matrix([point("fast", 1, bits)], tmp_path)
    assert measures_of(matrix) == ["all", "disease", "general", "general/en", "general/zh"]
    assert domains_of(matrix) == ["all", "disease", "general"]


def test_no_point_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match="no stage has a result yet; materialise the pretrain assets"):
        bits_per_byte_matrix([], tmp_path)


@pytest.mark.parametrize(
    ("first", "last", "learnt"),
    [(2.0, 1.9, True), (2.0, 2.0, False), (math.nan, 1.0, False), (2.0, math.inf, False)],
)
def test_what_was_learnt_is_the_last_row_against_the_first(
    tmp_path: Path, first: float, last: float, learnt: bool
) -> None:
    points = [point("fast", 1, {"all": first}), point("stable", 2, {"all": last})]
    assert has_learnt(bits_per_byte_matrix(points, tmp_path)) is learnt
