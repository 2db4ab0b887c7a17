"""A curriculum that was trained and measured on its way, in a lake that tests copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from medpipe.evaluate.report import build_report
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.plan import STAGES, Plan, builtin_plans, parse_plan
from medpipe.tokens.snapshot import write_snapshot
from medpipe_tests.pretrain.conftest import _same_signals_and_threads, corpus, own_corpus, plan
from medpipe_tests.pretrain.corpus import Corpus, build_corpus
from medpipe_tests.tracking.conftest import empty_store, settings

__all__ = ["_same_signals_and_threads", "corpus", "empty_store", "own_corpus", "plan", "settings"]


@dataclass(frozen=True)
class Trained:
    """A lake with a finished curriculum."""

    corpus: Corpus
    plan: Plan

    @property
    def lake(self) -> Lake:
        return self.corpus.lake

    @property
    def compiled(self) -> CompiledPlan:
        return self.compile(self.plan)

    def compile(self, plan: Plan) -> CompiledPlan:
        return compile_plan(plan, self.corpus.snapshot, self.lake)

    def copied_to(self, root: Path) -> Trained:
        shutil.copytree(self.lake.root, root)
        corpus = self.corpus
        return Trained(
            Corpus(Lake(root), corpus.snapshot, corpus.tokenizer, corpus.eos_id, corpus.texts), self.plan
        )

    def train(self, *stages: str) -> Trained:
        from medpipe_tests.pretrain.conftest import stage_run

        for stage in stages:
            stage_run(self.corpus, self.plan, stage).run()
        return self


def tiny(**changes: object) -> Plan:
    """The smallest plan, measured every eight steps; two checkpoints a stage are kept beside the best."""
    values = yaml.safe_load(builtin_plans()["tiny"].read_text())
    return parse_plan(
        values | {"name": "measured", "measure_every_steps": 8, "keep_checkpoints": 1} | changes,
        origin="test",
    )


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """The first stage is complete."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    corpus = build_corpus(tmp_path_factory.mktemp("begun"))
    write_snapshot(corpus.lake, corpus.snapshot)
    trained = Trained(corpus, tiny())
    write_json_atomically(corpus.lake.runs("measured") / "pinned.json", {"snapshot": corpus.snapshot.name})
    yield trained.train(STAGES[0])
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def finished(begun: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All four stages are complete."""
    world = begun.copied_to(tmp_path_factory.mktemp("finished") / "lake").train(*STAGES[1:])
    build_report(world.compiled, lake=world.lake)  # drawing takes a second; copies find it made
    return world


@pytest.fixture
def trained(finished: Trained, tmp_path: Path) -> Trained:
    """A finished curriculum of the test's own."""
    return finished.copied_to(tmp_path / "lake")
