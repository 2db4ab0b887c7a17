"""Killed anywhere and resumed, a run ends with the same bytes as one that was never killed."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from medpipe.lake.digest import sha256_file
from medpipe.pretrain.checkpoint import OPTIMIZER, WEIGHTS, list_checkpoints, read_state
from medpipe.pretrain.launch import trainer_command
from medpipe.pretrain.plan import Plan
from medpipe.pretrain.result import read_result
from medpipe.tracking.spool import read_events
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.trainers import AT_STEP, KILL, copy_of, ended, trainer_with


def train_until_killed(corpus: Corpus, stage: str, *, step: int) -> None:
    """The trainer kills itself behind a step: nothing but SIGKILL is simulated."""
    done = ended(trainer_with(corpus, AT_STEP.format(action=KILL, step=step), stage=stage))
    assert done.returncode == -signal.SIGKILL, done.stderr


def train(corpus: Corpus, stage: str) -> str:
    done = ended(trainer_command(lake=corpus.lake.root, plan="tiny", snapshot="current", stage=stage))
    assert done.returncode == 0, done.stderr
    return done.stderr


def outcome(corpus: Corpus, plan: Plan, stage: str) -> dict[str, object]:
    """Everything that must not depend on where a run was killed."""
    run = stage_run(corpus, plan, stage)
    newest = list_checkpoints(run.folder / "checkpoints")[-1]
    events = list(read_events(run.folder / "metrics.jsonl"))
    result = read_result(run.folder)
    assert result is not None
    return {
        "weights": sha256_file(newest / WEIGHTS),
        "optimizer": sha256_file(newest / OPTIMIZER),
        "state": read_state(newest).model_dump(exclude={"seconds"}),
        "losses": [(e.step, e.tokens, e.values["train/loss"]) for e in events if e.kind == "metrics"],
        "checkpoints": [(e.step, e.path, e.values) for e in events if e.kind == "checkpoint"],
        "result": result.model_dump(exclude={"seconds"}),
    }


@pytest.mark.slow
def test_killed_and_resumed_ends_with_the_same_bytes(corpus: Corpus, plan: Plan, tmp_path: Path) -> None:
    straight, killed = (copy_of(corpus, tmp_path / name) for name in ("straight", "killed"))
    for stage in ("fast", "stable"):
        train(straight, stage)

    step = random.SystemRandom().randint(1, 17)
    train_until_killed(killed, "fast", step=step)
    train(killed, "fast")
    train_until_killed(killed, "stable", step=21)  # before the stage has a checkpoint of its own
    assert "going on from the stage before" in train(killed, "stable")

    for stage in ("fast", "stable"):
        expected, found = outcome(straight, plan, stage), outcome(killed, plan, stage)
        for key, value in expected.items():
            assert found[key] == value, f"{key} of {stage}, first killed at step {step}"
