"""The training benches: all sides train the same model, and say sane things. Speed is no matter of tests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import figures, stream, stream_sides, training
from bench.peers import hf_trainer, nano_gpt
from bench.stream_inputs import SHARD_TOKENS, read_all, stage_of, write_random, write_sparse
from bench.training_clock import StepClock
from bench.training_inputs import TrainingInputs, Work, make_training_inputs, work_like_the_demo
from bench.training_sides import bare_side, begin, loop_side
from medpipe.pretrain.checkpoint import list_checkpoints, verify_checkpoint
from medpipe_tests.pretrain.corpus import build_corpus

DOMAINS = ("general", "encyclopedia", "dialogue", "textbook", "guideline", "disease")
WORK = Work(sequences=2, warm_steps=1, steps=2, checkpoint_every=2)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> TrainingInputs:
    folder = tmp_path_factory.mktemp("training")
    build_corpus(folder / "home" / "lake", domains=DOMAINS, documents=40, validation=6)
    return make_training_inputs(folder, WORK)


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_the_loop_and_the_bare_loop_train_the_same_model(inputs: TrainingInputs, tmp_path: Path) -> None:
    whole = loop_side(inputs, "eager", tmp_path)
    bare = bare_side(inputs, "eager", tmp_path)
    first = begin(inputs, "eager").train_step()
    assert whole["loss_first"] == first.loss
    assert whole["precision"] == bare["precision"]
    for found in (whole, bare):
        assert len(found["step_seconds"]) == WORK.steps and found["tokens_per_second"] > 0
    saved = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert [path.name for path in saved][-1] == f"{WORK.all_steps:08d}"
    verify_checkpoint(saved[-1])
    assert whole["milliseconds"]["time/checkpoint_ms"] > 0
    assert sum(whole["milliseconds"].values()) / 1e3 <= 1.5 * max(whole["step_seconds"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_the_way_of_nano_gpt(inputs: TrainingInputs, kind: str) -> None:
    found = nano_gpt.run(inputs, kind, "bf16", "eager")
    assert len(found["step_seconds"]) == WORK.steps
    assert abs(found["loss_first"] - math.log(inputs.facts["vocabulary_size"])) < 0.5
    ours = sum(parameter.numel() for parameter in begin(inputs, "eager").model.parameters())
    assert abs(found["parameters"] / ours - 1) < 0.02


def test_a_batch_of_nano_gpt_is_a_window_and_its_next_tokens(inputs: TrainingInputs) -> None:
    x, y = nano_gpt.read_batch(inputs.tokens, 3, 16)
    assert torch.equal(x[:, 1:], y[:, :-1])
    tokens = np.fromfile(inputs.tokens, dtype="<u2").astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, 17)
    assert (windows == torch.cat([x[:1], y[:1, -1:]], dim=1).numpy()).all(axis=1).any()


@pytest.mark.slow
def test_the_way_of_transformers(inputs: TrainingInputs, tmp_path: Path) -> None:
    found = hf_trainer.run(inputs, "bf16", tmp_path)
    assert len(found["step_seconds"]) == WORK.steps
    assert abs(found["loss_last"] - math.log(inputs.facts["vocabulary_size"])) < 1


def test_checkpoints_are_as_far_apart_as_in_the_demo() -> None:
    work = work_like_the_demo(sequences=16)
    assert (work.checkpoint_every, work.steps, work.all_steps) == (40, 40, 49)
    assert work_like_the_demo(sequences=32, intervals=2).steps == 40


def test_the_clock_counts_steps_between_two_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 10.0, 11.0, 13.0, 20.0])
    monkeypatch.setattr("bench.training_clock.time.perf_counter", lambda: next(ticks))
    clock = StepClock(warm_steps=1, steps=2, tokens_per_step=30)
    for _ in range(5):
        clock.begin()
    assert clock.found() == {"tokens_per_second": 20.0, "counted_seconds": 3.0, "step_seconds": [1.0, 2.0]}


def test_the_faster_of_a_peers_precisions_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "LATEST", tmp_path / "latest.jsonl")

    def runs(rate: float) -> list[dict[str, object]]:
        row = {"tokens_per_second": rate, "step_seconds": [1.0] * 4, "counted_seconds": 4.0}
        return [{**row, "milliseconds": {"time/checkpoint_ms": 20.0}}]

    training.report(
        {"medpipe": runs(9), "Trainer, fp32": runs(4), "Trainer, bf16": runs(6), "bare loop": runs(9)}
    )
    shown = (tmp_path / "latest.jsonl").read_text().splitlines()
    assert len(shown) == 3
    assert '"peer_name": "bare loop"' in shown[0] and '"ratio": 1.0' in shown[0]
    assert '"peer_name": "Trainer, bf16"' in shown[1] and '"ratio": 1.5' in shown[1]
    assert '"medpipe": 0.02' in shown[2]


def test_the_streams_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_sides, "SECONDS", 0.05)
    (tmp_path / stream_sides.RANDOM).mkdir()
    paths = write_random(tmp_path / stream_sides.RANDOM, shards=7, tokens=3_000)
    assert paths == write_random(tmp_path / stream_sides.RANDOM, shards=7, tokens=3_000)
    assert all(len(tokens) == 3_000 and tokens.max() < 32_000 for tokens in read_all(paths))
    stage = stage_of([3_000] * 7, length=128, sequences=4)
    assert stage.samples == 7 * 24 and len(stage.shards) == 7 and len(stage.components) == 6
    for side in (stream_sides.batches, stream_sides.nano_gpt):
        assert side(tmp_path, 128, 4)["tokens_per_second"] > 0


def test_the_large_set_opens_and_is_laid_out(tmp_path: Path) -> None:
    _, snapshot = write_sparse(tmp_path / stream_sides.SPARSE, gigabytes=1.5)
    (tmp_path / stream_sides.SNAPSHOT).write_text(snapshot.model_dump_json())
    found = stream_sides.open_set(tmp_path, 1024, 4)
    assert found["shards"] == 24 and found["gigabytes"] == 24 * 2 * SHARD_TOKENS / 1e9
    assert found["last_ids"] == 0
    used = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    assert used < 5e6
    laid_out = stream_sides.lay_out(tmp_path, 1024, 4)
    assert laid_out["windows"] == 24 * SHARD_TOKENS // 1024


def test_each_size_of_the_stream_has_its_peer() -> None:
    names = [side.name for side in stream.sides()]
    for length, sequences in stream.SIZES:
        assert f"medpipe {length} x {sequences}" in names and f"nanoGPT {length} x {sequences}" in names
