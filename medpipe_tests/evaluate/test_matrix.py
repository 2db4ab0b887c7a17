from __future__ import annotations

import math

import polars as pl
import pytest

from medpipe.evaluate.matrix import MatrixError, bits_per_byte_matrix

RESULTS = {
    "fast": {"all": 2.0, "tcm": 3.0, "dialogue": 1.5},
    "converge": {"all": 1.5, "dialogue": 1.6, "textbook": math.nan},
}


def test_rows_follow_the_stages_and_all_comes_first() -> None:
    matrix = bits_per_byte_matrix(RESULTS)
    assert matrix.columns == ["checkpoint", "all", "dialogue", "tcm", "textbook"]
    assert matrix.rows() == [
        ("fast", 2.0, 1.5, 3.0, None),
        ("converge", 1.5, 1.6, None, None),
    ]
    assert matrix.schema["textbook"] == pl.Float64


def test_no_result_is_an_error() -> None:
    with pytest.raises(MatrixError, match="no stage has a result yet; materialise the pretrain assets"):
        bits_per_byte_matrix({})
