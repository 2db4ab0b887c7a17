"""Cancelling a run in Dagster ends the trainer within seconds, which saves its last step."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from medpipe_tests.operate.dev import TERMINATE, ask, is_alive, launch, status_of, wait_for

pytestmark = [pytest.mark.slow]


def trainer_of(home: Path) -> int | None:
    """Process id of the trainer once it has taken its first steps."""
    for spool in (home / "lake" / "runs").glob("*/*/metrics.jsonl"):
        if spool.stat().st_size > 0:
            return int((spool.parent / "lock").read_text())
    return None


def test_cancelling_ends_the_trainer_within_seconds(address: str, home: Path) -> None:
    run = launch(address, "full_pipeline")

    def trainer_or_failure() -> int | None:
        assert status_of(address, run) not in ("FAILURE", "CANCELED"), (home / "dev.log").read_text()[-4000:]
        return trainer_of(home)

    trainer = wait_for(trainer_or_failure, seconds=300, what="the first training step")
    assert is_alive(trainer) and trainer != os.getpid()
    ask(address, TERMINATE, id=run)
    asked = time.monotonic()
    wait_for(lambda: None if is_alive(trainer) else True, seconds=60, what="the end of the trainer")
    assert time.monotonic() - asked < 60
    ended = wait_for(
        lambda: s if (s := status_of(address, run)) in ("CANCELED", "FAILURE") else None,
        seconds=60,
        what="the end of the run",
    )
    assert ended == "CANCELED"
    checkpoints = list((home / "lake" / "runs").glob("*/*/checkpoints/*/manifest.json"))
    assert checkpoints, "the cancelled trainer left no checkpoint"
    (said,) = (home / "lake" / "runs").glob("*/*/failure.txt")
    step = re.search(r"stopped by SIG\w+ after step (\d+); (\w+) is saved", said.read_text())
    assert step is not None, said.read_text()
    assert int(step[2]) == int(step[1]), "what it saved is not its last step"
    assert (said.parent / "checkpoints" / step[2] / "manifest.json").is_file()
