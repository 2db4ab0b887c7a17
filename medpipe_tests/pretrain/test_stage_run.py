from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from medpipe.lake.layout import Lake
from medpipe.pretrain import stage_run as stage_run_module
from medpipe.pretrain import worker
from medpipe.pretrain.checkpoint import OPTIMIZER, WEIGHTS, CheckpointError, list_checkpoints, read_state
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.pretrain.launch import trainer_failure
from medpipe.pretrain.plan import STAGES, Plan, builtin_plans
from medpipe.pretrain.result import is_current, read_result
from medpipe.pretrain.stage_process import EXIT_STOPPED
from medpipe.pretrain.stage_run import ParentMissingError, StageRun
from medpipe.pretrain.stop import Stopped, StopRequest
from medpipe.pretrain.training import NonFiniteError, Training
from medpipe.tracking.spool import read_events
from medpipe_tests.pretrain.conftest import stage_run
from medpipe_tests.pretrain.corpus import Corpus
from medpipe_tests.pretrain.trainers import StopAfter, arguments, copy_of, digests, losses, tiny


def test_the_whole_curriculum(own_corpus: Corpus, plan: Plan) -> None:
    results = []
    for stage in STAGES:
        run = stage_run(own_corpus, plan, stage)
        finished = run.run()
        assert not finished.reused
        assert read_result(run.folder) == finished.result
        assert is_current(run.folder, run.compiled)
        results.append(finished.result)
        events = list(read_events(run.folder / "metrics.jsonl"))
        first = run.stage.first_step
        assert [e.step for e in events if e.kind == "metrics"] == list(range(first + 1, first + 21))
        *interim, checkpoint = [e for e in events if e.kind == "checkpoint"]
        every = plan.checkpoint_every_steps
        assert [e.step for e in interim] == [s for s in range(first + 1, first + 20) if s % every == 0]
        assert all(not e.values and e.tokens > 0 for e in interim)
        assert checkpoint.path == finished.result.checkpoint
        assert checkpoint.measured_on == run.compiled.validation_digest
        languages = finished.result.bits_per_byte_by_language["general"]
        assert checkpoint.values == {
            f"eval/bits_per_byte/{name}": value
            for name, value in {
                **finished.result.bits_per_byte,
                **{f"general/{language}": value for language, value in languages.items()},
            }.items()
        }
        assert (run.folder / "stage.json").is_file()
    # One curriculum: steps and tokens go on over the borders, and so do the optimizer's moments.
    state = read_state(run.folder / results[-1].checkpoint)
    assert state.step == 80
    assert state.tokens == sum(result.tokens for result in results)
    assert {s: sum(counts.values()) for s, counts in state.tokens_by_source.items()} == {
        result.stage: result.tokens for result in results
    }
    from safetensors.torch import load_file

    moments = load_file(run.folder / results[-1].checkpoint / OPTIMIZER)
    assert {int(tensor) for name, tensor in moments.items() if name.endswith(".step")} == {80}
    assert results[-1].bits_per_byte["all"] < results[0].bits_per_byte["all"]
    assert results[0].loss_last < results[0].loss_first
    assert results[0].sample is None
    assert results[-1].sample and len(results[-1].sample.splitlines()) >= 2
    assert set(results[-1].bits_per_byte) == {"all", "disease", "general"}
    assert set(results[-1].bits_per_byte_by_language["general"]) == {"en", "zh"}
    assert all(result.is_finite for result in results)


def test_a_finished_stage_is_reused(own_corpus: Corpus, plan: Plan) -> None:
    first = stage_run(own_corpus, plan, "fast").run()
    news: list[str] = []
    run = stage_run(own_corpus, plan, "fast", news=news)
    before = digests(run.folder)
    again = run.run()
    assert again.reused and again.result == first.result
    assert "reused" in news[-1]
    assert digests(run.folder) == before


def test_changed_held_out_text_is_measured_again_without_training(own_corpus: Corpus, plan: Plan) -> None:
    first = stage_run(own_corpus, plan, "fast").run().result
    run = stage_run(own_corpus, tiny(validation_tokens=100), "fast")
    assert not is_current(run.folder, run.compiled)
    before = digests(run.folder)
    again = run.run()
    assert not again.reused
    assert digests(run.folder) == before
    assert again.result.bits_per_byte != first.bits_per_byte
    assert again.result.loss_first == first.loss_first


def test_a_stage_needs_its_parent(own_corpus: Corpus, plan: Plan) -> None:
    with pytest.raises(ParentMissingError, match=r"not complete in .*; materialise pretrain/fast first"):
        stage_run(own_corpus, plan, "stable").run()


def test_a_damaged_parent_is_refused(own_corpus: Corpus, plan: Plan) -> None:
    run = stage_run(own_corpus, plan, "fast")
    result = run.run().result
    weights = run.folder / result.checkpoint / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(CheckpointError, match="materialise pretrain/fast again to restore it"):
        stage_run(own_corpus, plan, "stable").run()
    # Doing what the message says restores the same bytes, from the checkpoint before.
    news: list[str] = []
    again = stage_run(own_corpus, plan, "fast", news=news)
    assert not again.run().reused
    assert any("trying the one before" in line for line in news)
    assert any("resuming after step 18 of 20" in line for line in news)
    stage_run(own_corpus, plan, "stable").run()


@pytest.mark.parametrize("steps", [1, 7, 12])
def test_stopped_and_resumed_ends_with_the_same_bytes(
    own_corpus: Corpus,
    corpus: Corpus,
    plan: Plan,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run = stage_run(own_corpus, plan, "fast")
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=f"after step {steps}; .* is saved"):
        stage_run(own_corpus, plan, "fast", stop=StopAfter(patch, steps)).run()
    assert read_state(list_checkpoints(run.folder / "checkpoints")[-1]).step == steps
    assert read_result(run.folder) is None
    news: list[str] = []
    resumed = stage_run(own_corpus, plan, "fast", news=news).run().result
    assert f"resuming after step {steps} of 20" in news[0]
    shutil.copytree(corpus.lake.root, tmp_path / "straight")
    straight = Corpus(Lake(tmp_path / "straight"), corpus.snapshot, corpus.tokenizer, 0)
    other = stage_run(straight, plan, "fast")
    result = other.run().result
    assert digests(run.folder) == digests(other.folder)
    assert losses(run.folder) == losses(other.folder)
    assert resumed.model_copy(update={"seconds": 0}) == result.model_copy(update={"seconds": 0})


def test_lost_before_its_first_checkpoint_a_stage_begins_again_where_the_one_before_ended(
    own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is saved on the way out, as nothing is by a process that is killed."""
    stage_run(own_corpus, plan, "fast").run()
    straight = copy_of(own_corpus, tmp_path / "straight")
    original = Training.train_step

    def lost(training: Training) -> Any:
        if training.step == 21:
            raise KeyError("lost")
        return original(training)

    with monkeypatch.context() as patch, pytest.raises(KeyError, match="lost"):
        patch.setattr(Training, "train_step", lost)
        stage_run(own_corpus, plan, "stable").run()
    news: list[str] = []
    killed, other = stage_run(own_corpus, plan, "stable", news=news), stage_run(straight, plan, "stable")
    assert list_checkpoints(killed.folder / "checkpoints") == []
    killed.run()
    other.run()
    assert any("going on from the stage before" in line for line in news)
    assert digests(killed.folder) == digests(other.folder)
    assert losses(killed.folder) == losses(other.folder)


def test_stopped_while_measuring(own_corpus: Corpus, plan: Plan) -> None:
    stop = StopRequest()
    news: list[str] = []
    run = stage_run(own_corpus, plan, "fast", news=news, stop=stop)

    def say(text: str) -> None:
        if "measuring" in text:
            stop.signal_name = "SIGTERM"

    object.__setattr__(run, "progress", say)
    with pytest.raises(Stopped, match="SIGTERM"):
        run.run()
    assert read_result(run.folder) is None
    before = digests(run.folder)
    stage_run(own_corpus, plan, "fast").run()
    assert digests(run.folder) == before


def stop_in_the_second_batch_measured(run: StageRun) -> None:
    """Runs until a signal comes in the middle of a measurement."""
    batches = 0
    original = StageRun._break_off

    def break_off(self: StageRun, training: Training) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            self.stop.signal_name = "SIGINT"
        original(self, training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageRun, "_break_off", break_off)
        with pytest.raises(Stopped, match="stopped by SIGINT"):
            run.run()


@pytest.mark.parametrize("times", [1, 2])
def test_stopped_while_measuring_on_the_way(
    own_corpus: Corpus, plan: Plan, times: int, tmp_path: Path
) -> None:
    """The step is saved, measured when the run goes on, and all ends as if nothing had happened."""
    every = {"measure_every_steps": 9, "checkpoint_every_steps": 100, "keep_checkpoints": 4}
    measured = plan.model_copy(update=every)
    shutil.copytree(own_corpus.lake.root, tmp_path / "straight")
    straight = stage_run(
        Corpus(Lake(tmp_path / "straight"), own_corpus.snapshot, own_corpus.tokenizer, 0), measured, "fast"
    )
    straight.run()
    for _ in range(times):
        run = stage_run(own_corpus, measured, "fast")
        stop_in_the_second_batch_measured(run)
        assert [path.name for path in list_checkpoints(run.folder / "checkpoints")] == ["00000009"]
        assert read_state(run.folder / "checkpoints" / "00000009").bits_per_byte == {}
    run = stage_run(own_corpus, measured, "fast")
    run.run()
    assert digests(run.folder) == digests(straight.folder)
    states = [
        [
            read_state(path).model_dump(exclude={"seconds"})
            for path in list_checkpoints(folder / "checkpoints")
        ]
        for folder in (run.folder, straight.folder)
    ]
    assert states[0] == states[1]
    assert [(state["step"], bool(state["bits_per_byte"])) for state in states[0]] == [
        (9, True),
        (18, True),
        (20, False),
    ]


def test_nan_stops_and_names_the_batch(
    own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Training.train_step

    def poisoned(training: Training) -> Any:
        if training.step == 8:
            with torch.no_grad():
                next(training.model.parameters()).fill_(float("nan"))
        return original(training)

    run = stage_run(own_corpus, plan, "fast")
    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_step", poisoned)
        with pytest.raises(NonFiniteError) as caught:
            run.run()
    assert "step 9 of stage fast: loss nan" in str(caught.value)
    assert "_source/" in str(caught.value) and "lower optimizer.peak_learning_rate" in str(caught.value)
    [saved] = list_checkpoints(run.folder / "checkpoints")
    assert read_state(saved).step == 6
    stage_run(own_corpus, plan, "fast").run()


def test_a_second_trainer_is_refused(own_corpus: Corpus, plan: Plan) -> None:
    run = stage_run(own_corpus, plan, "fast")
    with run_lock(run.folder), pytest.raises(RunLockedError, match=f"process {os.getpid()} is training in"):
        run.run()
    run.run()


def test_worker_trains_and_reports(own_corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    assert worker.main(arguments(own_corpus)) == 0
    said = capsys.readouterr().err
    assert "fast: starting from fresh weights" in said
    assert "fast: step 1/20, loss" in said and "tokens/s" in said
    assert "fast: complete" in said
    assert worker.main(arguments(own_corpus)) == 0
    assert "reused" in capsys.readouterr().err


def test_worker_names_errors(
    own_corpus: Corpus, plan: Plan, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert worker.main(arguments(own_corpus, "anneal")) == 1
    assert "anneal: error: goes on from stable" in capsys.readouterr().err
    folder = stage_run(own_corpus, plan, "anneal").folder
    assert "materialise pretrain/stable first" in str(trainer_failure(folder))
    typo = tmp_path / "typo.yaml"
    typo.write_text(builtin_plans()["tiny"].read_text().replace("seed:", "sed:"))
    assert worker.main(arguments(own_corpus, plan=str(typo))) == 1
    assert "did you mean 'seed'" in capsys.readouterr().err


def test_worker_reports_why_it_failed_and_forgets_it(
    own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stage_run(own_corpus, plan, "fast").folder

    def fail(*args: object) -> None:
        raise RuntimeError("the roof fell in")

    with monkeypatch.context() as patch:
        patch.setattr(stage_run_module.StageRun, "_record", fail)
        with pytest.raises(RuntimeError):
            worker.main(arguments(own_corpus))
    assert trainer_failure(folder) == "unexpected RuntimeError: the roof fell in"
    assert worker.main(arguments(own_corpus)) == 0
    assert trainer_failure(folder) is None


def test_sigint_saves_and_exits_with_a_code_of_its_own(
    own_corpus: Corpus, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stage_run(own_corpus, plan, "fast").folder
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt_after_some_steps() -> None:
        for _ in range(2_000):
            spool = folder / "metrics.jsonl"
            if spool.exists() and len(spool.read_bytes().splitlines()) >= 3:
                break
            time.sleep(0.005)
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=interrupt_after_some_steps)
    thread.start()
    code = worker.main(arguments(own_corpus))
    thread.join()
    assert code == EXIT_STOPPED
    assert "stopped by SIGINT" in capsys.readouterr().err
    assert list_checkpoints(folder / "checkpoints")
    assert worker.main(arguments(own_corpus)) == 0
    assert json.loads((folder / "result.json").read_text())["steps"] == 20
