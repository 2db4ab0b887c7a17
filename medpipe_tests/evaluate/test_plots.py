from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from medpipe.evaluate.curve import SCHEMA, read_curve
from medpipe.evaluate.figures import stage_ends
from medpipe.evaluate.heat_map import MOST_ROWS, heat_map, rows_to_draw
from medpipe.evaluate.matrix import bits_per_byte_matrix
from medpipe.evaluate.plots import domain_curves, draw_curve, loss_curve
from medpipe.tracking.spool import Spool
from medpipe_tests.evaluate.points import point


def matrix_of(results: dict[str, dict[str, float]]) -> pl.DataFrame:
    points = [point(name, step, bits) for step, (name, bits) in enumerate(results.items(), 1)]
    return bits_per_byte_matrix(points, Path())


def long_matrix(rows: int) -> pl.DataFrame:
    points = []
    for step in range(1, rows + 1):
        stage = ["fast", "stable", "anneal", "converge"][4 * (step - 1) // rows]
        is_end = step == rows or 4 * (step - 1) // rows != 4 * step // rows
        bits = {"all": 2 + 1 / step, "general": 3 / step + 1, "general/zh": 1.0, "disease": 2.0 + 2 / step}
        points.append(point(stage, step, bits, end=is_end))
    return bits_per_byte_matrix(points, Path())


def pixels(png: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(png), format="png")[..., :3]


def near(picture: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    return np.abs(picture - np.array(colour)).max(axis=-1) < 0.06


def write_stage(path: Path, steps: range, rate: float) -> Path:
    with Spool(path) as spool:
        for step in steps:
            loss = math.nan if step == 7 else 2 + 6 / step
            spool.metrics({"train/loss": loss, "train/learning_rate": rate}, step=step, tokens=1000 * step)
        spool.metrics({"system/memory": 1.0}, step=steps.stop, tokens=1)
        spool.checkpoint("checkpoints/x", name="x", step=steps.stop, tokens=1, values={"eval/x": 1.0})
    return path


def test_the_curve_joins_the_stages_in_order(tmp_path: Path) -> None:
    curve = read_curve(
        {
            "fast": write_stage(tmp_path / "fast.jsonl", range(1, 11), 1e-3),
            "stable": write_stage(tmp_path / "stable.jsonl", range(11, 21), 1e-4),
            "anneal": tmp_path / "not-begun.jsonl",
        }
    )
    assert curve.schema == SCHEMA
    assert curve["step"].to_list() == list(range(1, 21))
    assert curve["stage"].to_list() == ["fast"] * 10 + ["stable"] * 10
    assert curve["tokens"][-1] == 20_000
    assert curve["loss"].null_count() == 1
    assert curve["learning_rate"][12] == 1e-4


def test_the_loss_curve_shows_both_lines_and_a_band_for_each_stage(tmp_path: Path) -> None:
    spools = {
        "fast": write_stage(tmp_path / "fast.jsonl", range(1, 101), 1e-3),
        "stable": write_stage(tmp_path / "stable.jsonl", range(101, 201), 1e-4),
    }
    picture = pixels(loss_curve(spools))
    blue, orange = near(picture, (0.0, 0.447, 0.698)), near(picture, (0.835, 0.369, 0.0))
    assert blue.sum() > 500
    assert orange.sum() > 200
    first, second = near(picture, (0.949,) * 3), near(picture, (0.878,) * 3)
    assert first.sum() > 20_000
    assert second.sum() > 20_000
    assert np.nonzero(first)[1].mean() < np.nonzero(second)[1].mean()
    # The learning rate falls: its line is higher in the first half.
    rows, columns = np.nonzero(orange[: int(0.85 * orange.shape[0])])
    middle = picture.shape[1] / 2
    inside = (columns > 0.15 * picture.shape[1]) & (columns < 0.85 * picture.shape[1]) & (rows > 40)
    assert rows[inside & (columns < middle)].mean() < rows[inside & (columns > middle)].mean()


@pytest.mark.parametrize(
    "rows", [[], [("fast", 1, 10, 2.0, 0.1)], [("fast", 1, 10, None, None), ("fast", 2, 20, 2.0, 0.1)]]
)
def test_a_curve_of_few_points_is_still_a_picture(rows: list[tuple[object, ...]]) -> None:
    assert pixels(draw_curve(pl.DataFrame(rows, schema=SCHEMA, orient="row"))).shape[0] > 300


def test_the_heat_map_is_blue_where_a_checkpoint_got_better_and_red_where_worse() -> None:
    matrix = matrix_of({"fast": {"all": 2.0, "tcm": 2.0}, "stable": {"all": 1.0, "tcm": 3.0}})
    picture = pixels(heat_map(matrix))
    blue = near(picture, (0.02, 0.19, 0.38))
    red = near(picture, (0.40, 0.0, 0.12))
    # The colour bar shows both colours in a narrow strip; a cell is far wider.
    (better,) = np.nonzero(blue.sum(axis=0) > 40)[0][:1]
    (worse,) = np.nonzero(red.sum(axis=0) > 40)[0][:1]
    assert blue.sum() > 4000
    assert red.sum() > 4000
    assert better < worse


@pytest.mark.parametrize(
    "results",
    [
        {"only": {"all": 2.0}},
        {"a": {"all": 2.0}, "b": {"all": 2.0, "tcm": 1.0}},
    ],
)
def test_a_heat_map_with_gaps_is_still_a_picture(results: dict[str, dict[str, float]]) -> None:
    assert pixels(heat_map(matrix_of(results))).shape[0] > 150


def test_of_many_rows_the_ends_of_the_stages_are_kept() -> None:
    matrix = long_matrix(400)
    shown = rows_to_draw(matrix)
    assert shown.height == MOST_ROWS
    assert shown["step"].is_sorted() and shown["step"][0] == 1
    assert shown.filter("stage_end").equals(matrix.filter("stage_end"))
    assert shown["step"].diff().max() < 400 // 30
    picture = pixels(heat_map(matrix))
    assert picture.shape[0] < 2200
    assert rows_to_draw(matrix.head(MOST_ROWS)).height == MOST_ROWS


def test_the_curves_of_the_domains_fall_over_the_shaded_stages() -> None:
    matrix = long_matrix(40)
    picture = pixels(domain_curves(matrix, stage_ends(matrix)))
    black, blue = near(picture, (0, 0, 0)), near(picture, (0.0, 0.447, 0.698))
    assert black.sum() > 500 and blue.sum() > 300
    assert near(picture, (0.949,) * 3).sum() > 20_000 and near(picture, (0.878,) * 3).sum() > 20_000
    rows, columns = np.nonzero(blue & (np.arange(picture.shape[1]) < 0.8 * picture.shape[1]))
    left, right = rows[columns < np.median(columns)], rows[columns > np.median(columns)]
    assert left.mean() < right.mean()
    one = matrix_of({"fast": {"all": 2.0, "tcm": math.nan}})
    assert pixels(domain_curves(one, {})).shape[0] > 300


def test_importing_the_room_loads_no_matplotlib() -> None:
    code = "import sys, medpipe.evaluate.plots, medpipe.evaluate.heat_map; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "False"
