"""Mistakes that trainers people use have made, each looked for in this one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medpipe.pretrain import loop
from medpipe.pretrain.checkpoint import OPTIMIZER, WEIGHTS, list_checkpoints, load_checkpoint
from medpipe.pretrain.model import Compute
from medpipe.pretrain.optimizer import load_tensors, optimizer_tensors, whole_weights
from medpipe.pretrain.plan import STAGES, Plan, Precision
from medpipe.pretrain.schedule import step_learning_rate
from medpipe.pretrain.stop import Stopped
from medpipe.pretrain.training import Training
from medpipe.tracking.spool import read_events
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.trainers import StopAfter


def begun(corpus: Corpus, plan: Plan, precision: Precision = Precision.FP32) -> Training:
    run = stage_run(corpus, plan, "fast")
    prepared = run._prepare(None)
    return Training.begin(
        run.compiled, run.stage, data=prepared.data, compute=Compute(torch.device("cpu"), precision)
    )


def test_what_is_resumed_from_is_complete_and_fp32_under_bf16_too(
    corpus: Corpus, plan: Plan, tmp_path: Path
) -> None:
    """A resume file in half precision goes on from rounded weights (minimind)."""
    training = begun(corpus, plan, Precision.BF16)
    for _ in range(2):
        training.train_step()
    path = training.save(tmp_path)
    named = dict(training.model.named_parameters())
    weights, moments = load_file(path / WEIGHTS), load_file(path / OPTIMIZER)
    assert weights.keys() == named.keys()
    assert moments.keys() == {f"{n}.{key}" for n in named for key in ("exp_avg", "exp_avg_sq", "step")}
    assert {tensor.dtype for tensor in (*weights.values(), *moments.values())} == {torch.float32}
    assert all(torch.equal(weights[name], parameter) for name, parameter in named.items())
    rounded = [name for name, each in weights.items() if torch.equal(each, each.bfloat16().float())]
    assert all("norm" in name for name in rounded)  # a norm may still be all ones


def test_tokens_a_second_divide_by_a_duration(
    corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not by a reading of the clock, which is large on a machine that has been up for long (litgpt)."""
    now = [1e9]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    training = begun(corpus, plan)
    meter = loop._Meter(training, tmp_path)
    result = training.train_step()
    for _ in range(4):
        now[0] += 0.5
        meter.add(result)
    assert meter.metrics(result)["train/tokens_per_second"] == pytest.approx(4 * result.tokens / 2.0)
    assert training.seconds == pytest.approx(2.0)


def test_every_stage_ends_with_its_moments_and_the_next_begins_with_them(
    own_corpus: Corpus, plan: Plan
) -> None:
    """The last checkpoint without its optimizer lets the next stage start cold (torchtitan's default)."""
    steps = 0
    for stage in STAGES:
        run = stage_run(own_corpus, plan, stage)
        last = run.folder / run.run().result.checkpoint
        assert last == list_checkpoints(run.folder / "checkpoints")[-1]
        steps += run.stage.steps
        moments = load_file(last / OPTIMIZER)
        assert {float(each) for name, each in moments.items() if name.endswith(".step")} == {steps}
        assert all(each.abs().sum() > 0 for name, each in moments.items() if name.endswith(".exp_avg"))
        if stage == STAGES[-1]:
            return
        following = stage_run(own_corpus, plan, STAGES[STAGES.index(stage) + 1])
        warm = following._prepare(last)
        assert warm.step == steps
        held = optimizer_tensors(warm.model, warm.optimizer)
        assert held.keys() == moments.keys()
        assert all(torch.equal(held[name], moments[name]) for name in moments)


def test_the_rate_of_every_resumed_step_is_the_schedules(
    own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loaded optimizer brings the rate it was saved with, or its first one (nanochat, transformers)."""
    used: list[tuple[int, set[float]]] = []
    original = Training.train_step

    def spying(training: Training) -> Any:
        step, update = training.step, training.optimizer.step

        def noting() -> None:
            used.append((step, {group["lr"] for group in training.optimizer.param_groups}))
            update()

        with monkeypatch.context() as patch:
            patch.setattr(training.optimizer, "step", noting)
            return original(training)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stage_run(own_corpus, plan, "fast", stop=StopAfter(patch, 2)).run()
    monkeypatch.setattr(Training, "train_step", spying)
    stage_run(own_corpus, plan, "fast").run()
    stage_run(own_corpus, plan, "stable").run()
    assert [step for step, _ in used] == list(range(2, 40))
    for step, rates in used:
        stage = "fast" if step < 20 else "stable"
        assert rates == {step_learning_rate(step % 20, stage, plan)}, step
    assert used[0][1] == {plan.optimizer.peak_learning_rate * 5 / 8}  # the middle of the third of four


def test_generators_are_restored_not_only_saved(
    own_corpus: Corpus, corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What draws in a step draws the same after a resume (nanotron saved the states, never loaded them)."""
    drawn: dict[int, tuple[float, ...]] = {}
    original = Training.train_step

    def drawing(training: Training) -> Any:
        drawn[training.step] = (random.random(), float(np.random.rand()), torch.rand(()).item())
        return original(training)

    monkeypatch.setattr(Training, "train_step", drawing)
    import shutil

    from medpipe.lake.layout import Lake

    shutil.copytree(corpus.lake.root, tmp_path / "straight")
    copy = Corpus(Lake(tmp_path / "straight"), corpus.snapshot, corpus.tokenizer, corpus.eos_id)
    for stage in STAGES[:2]:
        stage_run(copy, plan, stage).run()
    straight = dict(drawn)
    drawn.clear()
    for steps, stage in ((7, "fast"), (29, "stable")):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stage_run(own_corpus, plan, stage, stop=StopAfter(patch, steps)).run()
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        stage_run(own_corpus, plan, stage).run()
        random.seed(6), np.random.seed(6), torch.manual_seed(6)
    assert drawn == straight
    assert len(set(straight.values())) == 40


@pytest.mark.parametrize("fused", [True, False])
def test_moments_fit_the_fused_and_the_plain_kernel(
    corpus: Corpus, plan: Plan, tmp_path: Path, fused: bool
) -> None:
    """Where the step count lies depends on the kernel; a wrong one scales the first update."""
    training = begun(corpus, plan)
    for _ in range(3):
        training.train_step()
    path = training.save(tmp_path)
    other = begun(corpus, plan)
    for group in other.optimizer.param_groups:
        group["fused"], group["foreach"] = fused, False
    load_checkpoint(path, model=other.model, optimizer=other.optimizer)
    other.step = training.step
    steps = [state["step"] for state in other.optimizer.state.values()]
    assert {each.dtype for each in steps} == {torch.float32} and {float(each) for each in steps} == {3.0}
    results = [each.train_step() for each in (training, other)]
    assert results[0].learning_rate == results[1].learning_rate
    for one, two in zip(training.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0 if fused else 1e-6)


def test_moments_of_another_precision_are_fp32_after_a_reload(corpus: Corpus, plan: Plan) -> None:
    training = begun(corpus, plan)
    training.train_step()
    weights = whole_weights(training.model, training.optimizer)
    moments = optimizer_tensors(training.model, training.optimizer)
    halves = {n: t if n.endswith(".step") else t.bfloat16() for n, t in moments.items()}
    load_tensors(training.model, training.optimizer, weights, halves)
    held = optimizer_tensors(training.model, training.optimizer)
    assert {tensor.dtype for tensor in held.values()} == {torch.float32}
    training.train_step()


def test_every_step_is_in_the_spool_once_over_a_resume(
    own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stage_run(own_corpus, plan, "fast")
    for steps in (3, 4, 11):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stage_run(own_corpus, plan, "fast", stop=StopAfter(patch, steps)).run()
    run.run()
    events = [event for event in read_events(run.folder / "metrics.jsonl") if event.kind == "metrics"]
    assert [event.step for event in events] == list(range(1, 21))
