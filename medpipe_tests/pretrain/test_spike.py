"""Which steps are left out, by the rule and in training."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.plan import Plan
from medpipe.pretrain.plan_parts import SpikeRule
from medpipe.pretrain.spike import SpikeWindow
from medpipe.pretrain.training import NonFiniteError, Training
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus

RULE = SpikeRule(window=8, deviations=3.0, most_in_a_row=2)


@given(st.lists(st.floats(0.1, 10), min_size=8, max_size=8), st.floats(0.1, 100))
def test_the_rule_is_mean_and_deviation(known: list[float], value: float) -> None:
    window = SpikeWindow(list(known), [1.0] * 8)
    limit = statistics.mean(known) + 3 * statistics.stdev(known)
    if abs(value - limit) > 1e-9:
        assert (window.reason(value, 1.0, RULE) is not None) == (value > limit)


def test_nothing_is_a_spike_before_half_a_window_is_known() -> None:
    window = SpikeWindow()
    for _ in range(RULE.least_steps - 1):
        window.add(1.0, 1.0, RULE)
    assert window.reason(1e9, 1e9, RULE) is None
    window.add(1.0, 1.0, RULE)
    assert "loss 1e+09" in str(window.reason(1e9, 1e9, RULE))
    assert "gradient norm 1e+09" in str(window.reason(1.0, 1e9, RULE))


def test_the_window_forgets_the_oldest() -> None:
    window = SpikeWindow()
    for value in range(20):
        window.add(float(value), 2.0 * value, RULE)
    assert window.losses == [float(value) for value in range(12, 20)]
    assert window.gradient_norms == [2.0 * value for value in range(12, 20)]


def with_rule(plan: Plan, rule: SpikeRule | None) -> Plan:
    optimizer = plan.optimizer.model_copy(update={"spikes": rule})
    return plan.model_copy(update={"optimizer": optimizer})


def weights(training: Training) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in training.model.parameters()]


def explode(training: Training, monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
    """Every further step has this loss and what gradients come of it."""
    from medpipe.pretrain import training as module

    original = module.batch_loss

    def batch_loss(*args: object, **kwargs: object) -> float:
        original(*args, **kwargs)  # type: ignore[arg-type]
        return loss

    monkeypatch.setattr(module, "batch_loss", batch_loss)


def test_a_spike_leaves_the_weights_and_is_remembered(
    corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = stage_run(corpus, with_rule(plan, RULE), "fast")
    training = run._prepare(None)
    for _ in range(8):
        assert training.train_step().spike is None
    before = weights(training)
    explode(training, monkeypatch, 1e6)
    result = training.train_step()
    assert "loss 1e+06" in str(result.spike)
    assert all(torch.equal(old, new) for old, new in zip(before, weights(training), strict=True))
    assert (training.step, training.cursor, training.skipped) == (9, 9 * 16, [9])

    path = training.save(tmp_path)
    again = run._prepare(None)
    again.restore(path)
    assert again.skipped == [9]
    assert again.spikes == training.spikes


def test_spikes_without_end_stop_the_training(
    corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = stage_run(
        corpus, with_rule(plan, SpikeRule(window=64, deviations=3.0, most_in_a_row=2)), "fast"
    )
    run = training._prepare(None)
    run.spikes = SpikeWindow([5.0 + 0.01 * (i % 2) for i in range(64)], [1e9] * 64)
    explode(run, monkeypatch, 1e6)
    assert run.train_step().spike
    monkeypatch.undo()
    explode(run, monkeypatch, 1e9)
    assert run.train_step().spike
    monkeypatch.undo()
    explode(run, monkeypatch, 1e12)
    with pytest.raises(NonFiniteError, match="so were the 2 steps before"):
        run.train_step()


def test_without_a_rule_every_step_counts(
    corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = stage_run(corpus, with_rule(plan, None), "fast")._prepare(None)
    explode(training, monkeypatch, 1e9)
    for _ in range(3):
        assert training.train_step().spike is None
    assert training.spikes == SpikeWindow()


def test_the_rule_is_part_of_the_stage(compiled: CompiledPlan, corpus: Corpus, plan: Plan) -> None:
    from medpipe.pretrain.compile import compile_plan

    other = compile_plan(with_rule(plan, RULE), corpus.snapshot, corpus.lake)
    assert other.stage("fast").digest != compiled.stage("fast").digest
