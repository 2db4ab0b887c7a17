"""Cancelling a run in Dagster ends the trainer within seconds, which saves its last step."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medpipe_tests.operate.conftest import free_port
from medpipe_tests.operate.dev import (
    TERMINATE,
    ask,
    is_alive,
    launch,
    start_dev,
    status_of,
    stop_dev,
    wait_for,
    wait_until_served,
)
from medpipe_tests.operate.test_crash import write_plan
from medpipe_tests.pretrain.corpus import build_corpus

pytestmark = [pytest.mark.slow]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A corpus, and a plan whose first stage takes minutes."""
    build_corpus(tmp_path / "lake", documents=200)
    (tmp_path / "hub").mkdir()
    write_plan(tmp_path / "plan.yaml", steps=4_000)
    return tmp_path


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    port = free_port()
    settings = {"MEDPIPE_PLAN": str(home / "plan.yaml"), "MEDPIPE_HUB": str(home / "hub")}
    process = start_dev(home, dagster=port, mlflow=free_port(), **settings)
    try:
        wait_until_served(home, f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_dev(process)


def trainer_of(home: Path) -> int | None:
    """Process id of the trainer once it has taken its first steps."""
    for spool in (home / "lake" / "runs").glob("*/*/metrics.jsonl"):
        if spool.stat().st_size > 0:
            return int((spool.parent / "lock").read_text())
    return None


def test_cancelling_ends_the_trainer_within_seconds(address: str, home: Path) -> None:
    run = launch(address, "pretrain_curriculum", "pretrain/fast")

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
    checkpoints = list((home / "lake" / "runs").glob("*/*/checkpoints/[!.]*/manifest.json"))
    assert checkpoints, "the cancelled trainer left no checkpoint"
    (said,) = (home / "lake" / "runs").glob("*/*/failure.txt")
    step = re.search(r"stopped by SIG\w+ after step (\d+); (\w+) is saved", said.read_text())
    assert step is not None, said.read_text()
    assert int(step[2]) == int(step[1]), "what it saved is not its last step"
    assert (said.parent / "checkpoints" / step[2] / "manifest.json").is_file()
