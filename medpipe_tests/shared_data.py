"""Real records that lie beside the repository; tests that read them skip only where the folder is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(relative: str = "") -> Path:
    """Path of a file of the real records; skips the test if the whole folder is absent."""
    if not ROOT.is_dir():
        pytest.skip("the folder of real records is not beside the repository")
    path = ROOT / relative
    assert path.exists(), f"{path} is missing from the real records"
    return path
