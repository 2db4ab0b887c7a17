from __future__ import annotations

import math
from pathlib import Path

import pytest

from medpipe.evaluate.candidate import (
    Candidate,
    Incumbent,
    best_candidate,
    is_complete,
    is_current,
    is_finite,
    is_not_worse,
)
from medpipe.evaluate.matrix import MatrixError, bits_per_byte_matrix
from medpipe_tests.evaluate.points import checkpoint, point


def candidate(**changes: object) -> Candidate:
    values = {
        "name": "converge",
        "stage": "converge",
        "step": 80,
        "tokens": 1000,
        "digest": "d",
        "path": Path("runs/x"),
        "bits_per_byte": {"all": 2.0, "general": 2.1, "general/en": 1.9},
        "measured_on": "m",
    }
    return Candidate(**(values | changes))


def incumbent(bits: float | None, digest: str = "other") -> Incumbent:
    return Incumbent(version="3", digest=digest, bits_per_byte=bits, how="as said")


def test_the_best_of_those_that_are_still_there(tmp_path: Path) -> None:
    def there(name: str) -> Path:
        return checkpoint(tmp_path / name, name)

    points = [
        point("fast", 10, {"all": 3.0}, checkpoint=there("a")),
        point("stable", 15, {"all": 1.0}, end=False),
        point("stable", 18, {"all": 2.0}, end=False, checkpoint=there("b")),
        point("stable", 20, {"all": 2.0, "tcm": math.nan}, checkpoint=there("c")),
        point("anneal", 30, {"all": math.nan}, checkpoint=there("d")),
    ]
    best = best_candidate(bits_per_byte_matrix(points, tmp_path))
    assert best.measured_on == "m"
    assert (best.name, best.step, best.digest, best.path) == ("stable", 20, "c", Path("c"))
    assert best.bits_per_byte == {"all": 2.0}
    only_nan = best_candidate(bits_per_byte_matrix(points[4:], tmp_path))
    assert not is_finite(only_nan).passed
    with pytest.raises(MatrixError, match="no measured checkpoint is on the disk"):
        best_candidate(bits_per_byte_matrix(points[1:2], tmp_path))


def test_finite_complete_and_current() -> None:
    assert is_finite(candidate()).passed
    assert not is_finite(candidate(bits_per_byte={"all": math.inf})).passed
    assert not is_finite(candidate(bits_per_byte={"general": 2.0})).passed
    assert is_complete(candidate(), domains={"general"}, damage=None).passed
    missing = is_complete(candidate(), domains={"general", "tcm"}, damage=None)
    assert not missing.passed and "tcm is not measured" in missing.text
    damaged = is_complete(candidate(), domains={"general"}, damage="model.safetensors is gone")
    assert not damaged.passed and "gone" in damaged.text
    assert is_current(candidate(), held_out="m").passed
    other = is_current(candidate(), held_out="n")
    assert not other.passed and "materialise evaluation/bits_per_byte again" in other.text


def test_the_digest_is_the_one_noted_with_the_row(tmp_path: Path) -> None:
    there = checkpoint(tmp_path / "a", "a")
    for noted in ("old", None):
        points = [point("fast", 10, {"all": 3.0}, checkpoint=there, measured_on=noted)]
        best = best_candidate(bits_per_byte_matrix(points, tmp_path))
        assert best.measured_on == noted and not is_current(best, held_out="m").passed


def test_the_tolerance_counts_from_the_best_version_so_far() -> None:
    drifted = Incumbent(version="3", digest="other", bits_per_byte=1.998, floor=1.994, how="as said")
    found = is_not_worse(candidate(), drifted, tolerance=0.005)
    assert not found.passed and "the best version before it 1.9940" in found.text
    assert is_not_worse(candidate(), drifted, tolerance=0.006 + 1e-9).passed


@pytest.mark.parametrize(
    ("bits", "tolerance", "passed"),
    [(2.0, 0.0, True), (1.996, 0.005, True), (1.99, 0.005, False), (1.99, 0.0, False), (3.0, 0.0, True)],
)
def test_not_worse_than_the_version_with_the_alias(bits: float, tolerance: float, passed: bool) -> None:
    assert is_not_worse(candidate(), incumbent(bits), tolerance=tolerance).passed == passed


def test_a_version_that_cannot_be_compared_stays() -> None:
    assert is_not_worse(candidate(), None, tolerance=0.0).passed
    assert is_not_worse(candidate(), incumbent(None, digest="d"), tolerance=0.0).passed
    found = is_not_worse(candidate(), incumbent(None), tolerance=9.0)
    assert not found.passed and "delete its alias" in found.text
    lost = candidate(bits_per_byte={"general": 1.0})
    assert not is_not_worse(lost, incumbent(2.0), tolerance=0.0).passed
