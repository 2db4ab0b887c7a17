"""Trainers that are stopped, killed or disturbed at one exact place, and what they leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from medpipe.lake.digest import sha256_file
from medpipe.lake.layout import Lake
from medpipe.pretrain.checkpoint import OPTIMIZER, WEIGHTS, list_checkpoints
from medpipe.pretrain.launch import trainer_command, trainer_environment
from medpipe.pretrain.plan import Plan, builtin_plans, parse_plan
from medpipe.pretrain.stop import StopRequest
from medpipe.pretrain.training import Training
from medpipe.tracking.spool import read_events
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus

REACHED = 8
"""Step at which the fixture `halfway` stops."""
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
AT_STEP = """
from medpipe.pretrain.training import Training
original = Training.train_step
def train_step(self):
    result = original(self)
    if self.step == {step}:
        {action}
    return result
Training.train_step = train_step
"""
"""Something that a trainer does behind a step."""


def tiny(**changes: Any) -> Plan:
    return parse_plan(yaml.safe_load(builtin_plans()["tiny"].read_text()) | changes, origin="test")


def digests(folder: Path) -> dict[str, str]:
    newest = list_checkpoints(folder / "checkpoints")[-1]
    return {name: sha256_file(newest / name) for name in (WEIGHTS, OPTIMIZER)}


def losses(folder: Path) -> list[tuple[int, int, float]]:
    events = [e for e in read_events(folder / "metrics.jsonl") if e.kind == "metrics"]
    return [(e.step, e.tokens, e.values["train/loss"]) for e in events]


def copy_of(corpus: Corpus, root: Path) -> Corpus:
    shutil.copytree(corpus.lake.root, root)
    return Corpus(Lake(root), corpus.snapshot, corpus.tokenizer, corpus.eos_id)


def kept(folder: Path) -> dict[str, str]:
    """Digest of every file of every checkpoint."""
    files = [path for path in sorted((folder / "checkpoints").rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def run_folder(corpus: Corpus) -> Path:
    return stage_run(corpus, tiny(), "fast").folder


class StopAfter(StopRequest):
    """Asks for an end once the trainer has taken some steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        super().__init__()
        original = Training.train_step

        def counting(training: Training) -> Any:
            result = original(training)
            if training.step == steps:
                self.signal_name = "SIGINT"
            return result

        monkeypatch.setattr(Training, "train_step", counting)


def arguments(corpus: Corpus, stage: str = "fast", plan: str = "tiny") -> list[str]:
    root = str(corpus.lake.root)
    return ["--lake", root, "--plan", plan, "--snapshot", "current", "--stage", stage]


def trainer_with(corpus: Corpus, hook: str, *, stage: str = "fast") -> list[str]:
    """Command of a trainer in which some code runs first; it has no guard over it."""
    options = trainer_command(lake=corpus.lake.root, plan="tiny", snapshot="current", stage=stage)
    options = options[options.index("medpipe.pretrain.worker") + 1 :]
    return [
        sys.executable,
        "-c",
        f"{hook}\nfrom medpipe.pretrain import worker\nraise SystemExit(worker.main())",
        *options,
    ]


def ended(command: list[str]) -> subprocess.CompletedProcess[str]:
    """What a trainer did that ran to its end."""
    environment = os.environ | trainer_environment()
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
