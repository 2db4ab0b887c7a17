"""DeepSpeed's ZeRO over two gloo processes: what one process computes, in checkpoints that anybody reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import yaml

from medpipe.lake.digest import sha256_file
from medpipe.pretrain import worker
from medpipe.pretrain.checkpoint import OPTIMIZER, list_checkpoints, read_state, verify_checkpoint
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.plan import load_plan
from medpipe.pretrain.result import read_result, stage_run_folder
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.test_ranks import (
    copied,
    kill_after_first_checkpoint,
    losses,
    run_folder,
    train,
    weights,
    with_devices,
)

needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None,
    reason="DeepSpeed is not installed: DS_BUILD_OPS=0 pip install 'medpipe[deepspeed]'",
)


def plan_for(folder: Path, processes: int, strategy: str) -> Path:
    """The tiny plan with a strict rule for spikes: some steps are left out, by all ranks or by none."""
    path = with_devices(folder, processes, strategy)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["optimizer"]["spikes"] = {"window": 4, "deviations": 1.5}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def alone(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Path]:
    """The first stage by one process."""
    root = tmp_path_factory.mktemp("alone")
    own, plan = copied(corpus, root / "lake"), plan_for(root, 1, "ddp")
    train(own, plan)
    return own, plan


def test_some_steps_are_left_out(alone: tuple[Corpus, Path]) -> None:
    result = read_result(run_folder(*alone))
    assert result is not None and 0 < len(result.skipped) < 10


def folder_of(corpus: Corpus, plan: Path, stage: str) -> Path:
    return stage_run_folder(corpus.lake, compile_plan(load_plan(plan), corpus.snapshot, corpus.lake), stage)


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
def test_two_processes_compute_what_one_does_and_one_goes_on_at_the_border(
    corpus: Corpus, alone: tuple[Corpus, Path], tmp_path: Path, strategy: str
) -> None:
    two, together = copied(corpus, tmp_path / "two"), plan_for(tmp_path, 2, strategy)
    assert "2 processes" in train(two, together)
    one, plan = alone
    folders = run_folder(one, plan), run_folder(two, together)
    expected, found = (losses(folder) for folder in folders)
    assert found == pytest.approx(expected, rel=2e-4)
    results = [read_result(folder) for folder in folders]
    assert results[0] is not None and results[1] is not None
    assert results[1].skipped == results[0].skipped
    assert results[1].parameters == results[0].parameters
    assert results[1].tokens_by_source == results[0].tokens_by_source
    assert results[1].bits_per_byte == pytest.approx(results[0].bits_per_byte, rel=1e-3)
    tensors = [weights(folder) for folder in folders]
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][name], tensor, rtol=0, atol=2e-3, msg=name)
    if strategy != "zero3":
        return
    # Over the border and back: one process takes the stage before over, then two go on from it again.
    for stage in ("stable", "anneal"):
        train(one, plan, stage)
    assert "processes was 2, is 1" in train(two, plan, "stable")
    assert "processes was 1, is 2" in train(two, together, "anneal")
    for stage in ("stable", "anneal"):
        expected, found = (losses(folder_of(lake, plan, stage)) for lake in (one, two))
        assert found == pytest.approx(expected, rel=5e-4), stage


@needs_deepspeed
@pytest.mark.slow
def test_one_process_goes_on_in_the_middle_of_a_stage(
    corpus: Corpus, alone: tuple[Corpus, Path], tmp_path: Path
) -> None:
    plan, together = alone[1], plan_for(tmp_path, 2, "zero2")
    expected = losses(run_folder(*alone))
    first = copied(corpus, tmp_path / "first")
    step = kill_after_first_checkpoint(first, together)
    newest = list_checkpoints(run_folder(first, together) / "checkpoints")[-1]
    verify_checkpoint(newest)
    assert read_state(newest).processes == 2
    news = train(first, plan)
    assert f"resuming after step {step} of 20" in news and "processes was 2, is 1" in news
    assert losses(run_folder(first, plan)) == pytest.approx(expected, rel=2e-4)


def test_one_process_needs_no_deepspeed(corpus: Corpus, alone: tuple[Corpus, Path], tmp_path: Path) -> None:
    own, plan = copied(corpus, tmp_path / "lake"), plan_for(tmp_path, 1, "zero2")
    options = ["--lake", str(own.lake.root), "--plan", str(plan), "--snapshot", "current", "--stage", "fast"]
    assert worker.main(options) == 0
    moments = [
        list_checkpoints(run_folder(*each) / "checkpoints")[-1] / OPTIMIZER for each in (alone, (own, plan))
    ]
    assert sha256_file(moments[0]) == sha256_file(moments[1])


def test_without_deepspeed_the_fix_is_named(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from medpipe.pretrain.plan_model import Strategy
    from medpipe.pretrain.zero import StrategyError, spread_by_zero

    monkeypatch.setitem(sys.modules, "deepspeed", None)
    model = torch.nn.Linear(2, 2)
    with pytest.raises(StrategyError, match=r"zero2 needs DeepSpeed .*pip install 'medpipe\[deepspeed\]'"):
        spread_by_zero(
            model,
            torch.optim.AdamW(model.parameters()),
            strategy=Strategy.ZERO2,
            gradient_clip=1.0,
            is_bf16=False,
            hidden_size=2,
        )
