from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.plan import Plan, load_plan
from medpipe.pretrain.stage_run import StageRun
from medpipe.pretrain.stop import Stopped, StopRequest
from medpipe_tests.pretrain.corpus import Corpus, build_corpus


@pytest.fixture(autouse=True)
def _same_signals_and_threads() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tests run side by side: threads that wait for each other by spinning crawl
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus that no test changes."""
    return build_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def own_corpus(corpus: Corpus, tmp_path: Path) -> Corpus:
    """A copy that the test may train in or damage."""
    shutil.copytree(corpus.lake.root, tmp_path / "lake")
    return Corpus(Lake(tmp_path / "lake"), corpus.snapshot, corpus.tokenizer, corpus.eos_id, corpus.texts)


@pytest.fixture(scope="session")
def plan() -> Plan:
    return load_plan("tiny")


@pytest.fixture
def compiled(plan: Plan, corpus: Corpus) -> CompiledPlan:
    return compile_plan(plan, corpus.snapshot, corpus.lake)


@pytest.fixture(scope="session")
def straight(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Any]:
    """Weights, moments and losses of an undisturbed first stage."""
    from medpipe_tests.pretrain.trainers import copy_of, digests, losses, tiny

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = stage_run(copy_of(corpus, tmp_path_factory.mktemp("straight") / "lake"), tiny(), "fast")
    run.run()
    torch.set_num_threads(threads)
    return digests(run.folder), losses(run.folder)


@pytest.fixture
def halfway(own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A run that was stopped after eight of twenty steps; checkpoints 6 and 8 are there."""
    from medpipe_tests.pretrain.trainers import REACHED, StopAfter

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stage_run(own_corpus, plan, "fast", stop=StopAfter(patch, REACHED)).run()
    return own_corpus


def stage_run(
    corpus: Corpus, plan: Plan, stage: str, *, news: list[str] | None = None, stop: StopRequest | None = None
) -> StageRun:
    """One stage of a plan in a corpus' lake; what it says is appended to `news`."""
    compiled = compile_plan(plan, corpus.snapshot, corpus.lake)
    return StageRun(
        compiled=compiled,
        stage=compiled.stage(stage),
        lake=corpus.lake,
        snapshot=corpus.snapshot,
        progress=(news if news is not None else []).append,
        stop=stop or StopRequest(),
    )
