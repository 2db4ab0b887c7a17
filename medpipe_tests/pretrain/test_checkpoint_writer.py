"""Checkpoints are written beside the training, one at a time, and an error is not lost."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
import torch

from medpipe.lake.files import DiskFullError
from medpipe.pretrain import checkpoint_writer
from medpipe.pretrain.checkpoint import (
    Contents,
    list_checkpoints,
    read_state,
    verify_checkpoint,
)
from medpipe.pretrain.checkpoint_writer import CheckpointWriter
from medpipe.pretrain.plan import Plan
from medpipe.pretrain.training import Training
from medpipe.pretrain.training_state import BestCheckpoint, TrainingState
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus


@pytest.fixture
def training(corpus: Corpus, plan: Plan) -> Training:
    return stage_run(corpus, plan, "fast")._prepare(None)


def test_what_is_written_is_what_was_submitted(training: Training, tmp_path: Path) -> None:
    told: list[int] = []
    with CheckpointWriter(tmp_path, keep=9, on_written=lambda path, state: told.append(state.step)) as writer:
        expected = {}
        for _ in range(4):
            training.train_step()
            expected[training.step] = next(training.model.parameters()).detach().clone()
            writer.submit(training.contents())  # the next step changes the live tensors at once
    assert told == [1, 2, 3, 4]
    for path in list_checkpoints(tmp_path):
        verify_checkpoint(path)
        from safetensors.torch import load_file

        name = next(iter(dict(training.model.named_parameters())))
        assert torch.equal(load_file(path / "model.safetensors")[name], expected[read_state(path).step])


def test_training_goes_on_while_one_is_written(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()
    original = checkpoint_writer.write_checkpoint

    def slow(folder: Path, contents: Contents, *, keep: int) -> Path:
        assert may_write.wait(30)
        return original(folder, contents, keep=keep)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", slow)
    told: list[Path] = []
    with CheckpointWriter(tmp_path, keep=2, on_written=lambda path, state: told.append(path)) as writer:
        training.train_step()
        writer.submit(training.contents())
        training.train_step()
        writer.poll()
        assert told == [] and list_checkpoints(tmp_path) == []
        may_write.set()
    assert told == list_checkpoints(tmp_path) == [tmp_path / "00000001"]


def test_a_full_disk_is_told_at_the_next_turn(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, contents: Contents, *, keep: int) -> Path:
        raise DiskFullError(errno.ENOSPC, "no space left", str(folder))

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", full)
    with (
        pytest.raises(DiskFullError),
        CheckpointWriter(tmp_path, keep=2, on_written=lambda path, state: None) as writer,
    ):
        writer.submit(training.contents())
        writer.wait()


def test_the_best_checkpoint_stays(training: Training, tmp_path: Path) -> None:
    def note(path: Path, state: TrainingState) -> None:
        pass

    with CheckpointWriter(tmp_path, keep=1, on_written=note) as writer:
        for step in range(1, 6):
            training.train_step()
            if step == 2:
                training.best = BestCheckpoint(step=2, bits_per_byte=1.0)
            writer.submit(training.contents())
    assert [read_state(path).step for path in list_checkpoints(tmp_path)] == [2, 5]
