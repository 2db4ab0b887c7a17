from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medpipe.pretrain.guard import run_lock
from medpipe.pretrain.step_process import exit_code_in

TAKE_OVER = """
import sys
from pathlib import Path
from medpipe.pretrain.step_process import take_over
print(take_over(Path(sys.argv[1]), is_retry=sys.argv[2] == "retry", seconds=0.1))
"""


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("External execution process failed with code -9", -9),
        ("External execution process failed with code 3", 3),
        ("it could not be started", None),
    ],
)
def test_the_exit_code_is_read_from_the_launcher_s_message(message: str, code: int | None) -> None:
    assert exit_code_in(message) == code


@pytest.mark.parametrize("run", ["first", "retry"])
def test_only_a_retry_says_that_another_trainer_is_still_there(tmp_path: Path, run: str) -> None:
    # A process of its own: it asks to end with its parent.
    command = [sys.executable, "-c", TAKE_OVER, str(tmp_path), run]
    with run_lock(tmp_path):
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert ("still there" in said) == (run == "retry"), said
    alone = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert alone.strip() == "None"
