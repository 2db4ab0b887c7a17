"""Two processes (gloo) compute what one does, and a run goes on with another number of them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from medpipe.lake.layout import Lake
from medpipe.pretrain import worker
from medpipe.pretrain.checkpoint import WEIGHTS, list_checkpoints, read_state, verify_checkpoint
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.pretrain.launch import trainer_command, trainer_environment
from medpipe.pretrain.plan import find_plan, load_plan
from medpipe.pretrain.plan_model import PlanError
from medpipe.pretrain.ranks import Ranks
from medpipe.pretrain.result import read_result, stage_run_folder
from medpipe.pretrain.zero import StrategyError
from medpipe.tracking.spool import read_events
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus


def with_devices(tmp_path: Path, processes: int, strategy: str) -> Path:
    values = yaml.safe_load(find_plan("tiny").read_text(encoding="utf-8"))
    values["devices"] = {"processes": processes, "strategy": strategy}
    path = tmp_path / f"{processes}-{strategy}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def copied(corpus: Corpus, folder: Path) -> Corpus:
    shutil.copytree(corpus.lake.root, folder)
    return Corpus(Lake(folder), corpus.snapshot, corpus.tokenizer, corpus.eos_id)


def command(corpus: Corpus, plan: Path, stage: str = "fast") -> list[str]:
    processes = load_plan(plan).devices.processes
    return trainer_command(
        lake=corpus.lake.root, plan=plan, snapshot="current", stage=stage, processes=processes
    )


def train(corpus: Corpus, plan: Path, stage: str = "fast") -> str:
    """Trains a stage and returns what was said; one process trains in this one, which has torch."""
    words = command(corpus, plan, stage)
    if load_plan(plan).devices.processes == 1:
        with contextlib.redirect_stderr(io.StringIO()) as news:
            status = worker.main(words[words.index("medpipe.pretrain.worker") + 1 :])
        assert status == 0, news.getvalue()
        return news.getvalue()
    out = subprocess.run(
        words, env=os.environ | trainer_environment(), capture_output=True, text=True, timeout=300
    )
    assert out.returncode == 0, out.stderr
    return out.stderr


def run_folder(corpus: Corpus, plan: Path) -> Path:
    return stage_run_folder(corpus.lake, compile_plan(load_plan(plan), corpus.snapshot, corpus.lake), "fast")


def losses(folder: Path) -> dict[int, float]:
    events = read_events(folder / "metrics.jsonl")
    return {event.step: event.values["train/loss"] for event in events if event.kind == "metrics"}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    newest = list_checkpoints(folder / "checkpoints")[-1]
    verify_checkpoint(newest)
    return load_file(newest / WEIGHTS)


def kill_after_first_checkpoint(corpus: Corpus, plan: Path) -> int:
    """Kills the trainer as soon as one checkpoint is there; the step of its newest one when all have gone.

    torchrun's workers are in sessions of their own: they see that it is gone, save and end.
    """
    run = run_folder(corpus, plan)
    folder = run / "checkpoints"
    trainer = subprocess.Popen(
        command(corpus, plan),
        env=os.environ | trainer_environment(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while not list_checkpoints(folder):
        assert trainer.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    os.killpg(trainer.pid, signal.SIGKILL)
    trainer.wait(30)
    while True:
        try:
            with run_lock(run):
                break
        except RunLockedError:
            assert time.monotonic() < end
            time.sleep(0.05)
    return read_state(list_checkpoints(folder)[-1]).step


@pytest.fixture(scope="module")
def alone(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of the first stage by one process, for which the strategy says nothing."""
    root = tmp_path_factory.mktemp("alone")
    own, plan = copied(corpus, root / "lake"), with_devices(root, 1, "ddp")
    train(own, plan)
    return run_folder(own, plan)


def assert_same_training(alone: Path, other: Path) -> None:
    assert alone.name == other.name  # the number of processes is no part of what a stage is
    folders = alone, other
    expected, found = (losses(folder) for folder in folders)
    assert found == pytest.approx(expected, rel=2e-4)
    results = [read_result(folder) for folder in folders]
    assert results[0] is not None and results[1] is not None
    assert results[1].tokens_by_source == results[0].tokens_by_source
    assert results[1].bits_per_byte == pytest.approx(results[0].bits_per_byte, rel=1e-3)
    tensors = [weights(folder) for folder in folders]
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][name], tensor, rtol=0, atol=2e-3, msg=name)


@pytest.mark.slow
def test_two_processes_compute_what_one_does(corpus: Corpus, alone: Path, tmp_path: Path) -> None:
    two, together = copied(corpus, tmp_path / "two"), with_devices(tmp_path, 2, "ddp")
    assert "2 processes" in train(two, together)
    assert_same_training(alone, run_folder(two, together))


# Of DDP every process holds all of the state, as one alone does; FSDP has to gather and to cut it.
@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(corpus: Corpus, alone: Path, tmp_path: Path) -> None:
    single, together = with_devices(tmp_path, 1, "fsdp"), with_devices(tmp_path, 2, "fsdp")
    changing = copied(corpus, tmp_path / "changing")
    step = kill_after_first_checkpoint(changing, together)
    news = train(changing, single)
    assert f"resuming after step {step} of 20" in news
    assert "processes was 2, is 1" in news
    assert_same_training(alone, run_folder(changing, single))

    back = copied(corpus, tmp_path / "back")
    step = kill_after_first_checkpoint(back, single)
    assert "processes was 1, is 2" in train(back, together)
    assert_same_training(alone, run_folder(back, together))


def test_shares_cover_the_batch_once() -> None:
    rows = [row for rank in range(4) for row in Ranks(rank, 4).share(16)]
    assert rows == list(range(16))


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"16 sequences does not divide over 3 processes"):
        load_plan(with_devices(tmp_path, 3, "ddp"))


def test_processes_started_by_hand_that_do_not_divide_the_batch_are_refused(corpus: Corpus) -> None:
    run = dataclasses.replace(stage_run(corpus, load_plan("tiny"), "fast"), ranks=Ranks(0, 3))
    with pytest.raises(
        StrategyError, match="16 sequences does not divide over 3 processes; start as many as"
    ):
        run.run()
    assert not run.folder.exists()
