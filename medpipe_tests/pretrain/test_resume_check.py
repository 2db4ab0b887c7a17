"""The proof of exact resume as an asset check: executed on request, and only then."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medpipe.automation import FULL, ON_REQUEST, PRETRAIN, REFRESH, VERIFY
from medpipe.graph import build_definitions
from medpipe.lake.layout import Lake
from medpipe.pretrain import verify_resume as proof
from medpipe.pretrain import worker
from medpipe.pretrain.assets import stage_key
from medpipe.pretrain.checks import RESUME_IS_EXACT, build_resume_check
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.curriculum import compile_pinned
from medpipe.pretrain.plan import STAGES, Plan, load_plan
from medpipe.pretrain.result import SPOOL, stage_run_folder
from medpipe.run_form import RunForm
from medpipe.settings import Settings
from medpipe.tokens.snapshot import CorpusSnapshot
from medpipe.tracking.spool import Spool
from medpipe_tests.pretrain.corpus import Corpus, build_corpus
from medpipe_tests.pretrain.test_verify_resume import short


@dg.asset(key=stage_key("converge"))
def last_stage() -> None:
    """Stands for the trained stage."""


def execute(corpus: Corpus, plan: Plan, **config: Any) -> dg.ExecuteInProcessResult:
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(RESUME_IS_EXACT))
    definitions = dg.Definitions(
        assets=[last_stage],
        asset_checks=[build_resume_check(plan, lake=corpus.lake)],
        jobs=[alone],
        resources={"form": RunForm()},
    )
    run_config = {"loggers": {"console": {}}, "ops": {RESUME_IS_EXACT.name: {"config": config}}}
    return definitions.resolve_job_def("alone").execute_in_process(
        run_config=run_config, raise_on_error=False
    )


def test_no_other_job_reads_or_trains_everything_again(tmp_path: Path) -> None:
    definitions = build_definitions(Settings(home=tmp_path))
    jobs = {name: definitions.resolve_job_def(name) for name in (REFRESH, PRETRAIN, FULL, VERIFY)}
    for check in ON_REQUEST:
        having = {name for name, job in jobs.items() if check.name in {node.name for node in job.nodes}}
        assert having == {VERIFY}
    (proof_node,) = [node for node in jobs[VERIFY].nodes if node.name == RESUME_IS_EXACT.name]
    assert proof_node.definition.pool == "gpu"  # type: ignore[attr-defined]


def test_it_trains_nothing_unless_asked_for(own_corpus: Corpus, plan: Plan) -> None:
    done = execute(own_corpus, plan, asked_for=False)
    assert done.success and done.get_asset_check_evaluations() == []


def test_a_click_on_the_asset_does_not_execute_it(corpus: Corpus, plan: Plan) -> None:
    done = dg.materialize(
        [last_stage, build_resume_check(plan, lake=corpus.lake)], resources={"form": RunForm()}
    )
    assert done.success
    assert done.get_asset_check_evaluations() == []


def test_a_stage_that_is_none_is_refused(own_corpus: Corpus, plan: Plan) -> None:
    compile_pinned(plan, own_corpus.lake, stage="fast")
    done = execute(own_corpus, plan, until="noon")
    assert not done.success
    assert "there is no stage 'noon'; say fast, stable" in str(_failure(done))


def test_before_any_training_the_fix_is_named(own_corpus: Corpus, plan: Plan) -> None:
    done = execute(own_corpus, plan)
    assert "materialise pretrain/fast first" in str(_failure(done))


def train_here(lake: Lake, plan: Plan, snapshot: CorpusSnapshot, stage: str) -> None:
    """Trains a stage in this process, which has torch loaded."""
    command = proof._command(lake, plan, snapshot, stage)
    assert worker.main(command[command.index("medpipe.pretrain.worker") + 1 :]) == 0


@pytest.fixture
def _fewer_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start of the trainer takes seconds.

    What is never killed is trained in this process. The other run is killed at places of all three kinds in
    the first stage and at one in each other.
    """
    original = proof._train

    def train(lake: Lake, plan: Plan, snapshot: CorpusSnapshot, stage: str) -> None:
        (train_here if plan.name.endswith(proof.STRAIGHT) else original)(lake, plan, snapshot, stage)

    monkeypatch.setattr(proof, "_train", train)
    all_points = proof._kill_points
    kept = {"stable": "saving", "anneal": "step", "converge": "border"}

    def points(compiled: CompiledPlan, stage: str, draw: random.Random) -> Iterator[str]:
        for point in all_points(compiled, stage, draw):
            if stage not in kept or point.startswith(kept[stage]):
                yield point

    monkeypatch.setattr(proof, "_kill_points", points)


@pytest.mark.slow
@pytest.mark.usefixtures("_fewer_starts")
def test_it_passes_on_the_demo_plan_killed_at_steps_in_saves_and_at_borders(tmp_path: Path) -> None:
    """Model, mixtures, rates, batch, precision and threads of the demo; its budgets are cut."""
    plan = short(load_plan("demo"))
    domains = tuple(sorted({entry.domain.value for stage in plan.stages for entry in stage.mixture}))
    corpus = build_corpus(tmp_path, domains=domains, documents=60, validation=4, refined_share=0.75)
    compile_pinned(plan, corpus.lake, stage="fast")
    done = execute(corpus, plan)
    assert done.success
    (evaluation,) = done.get_asset_check_evaluations()
    kills, parts = (
        [row.data for row in evaluation.metadata[name].value.records]  # type: ignore[union-attr]
        for name in ("kill points", "digests")
    )
    assert evaluation.passed, (kills, parts)
    assert [row["stage"] for row in kills] == list(STAGES)
    kinds = [[point.split(":")[0] for point in str(row["killed at"]).split(", ")] for row in kills]
    assert kinds == [["saving", "step", "border"], ["saving"], ["step"], ["border"]]
    for row in kills:
        compared = {each["part"] for each in parts if each["stage"] == row["stage"]}
        assert compared >= {"weights", "moments", "generators", "cursor and counters", "losses"}
    assert all(row["equal"] and row["straight"] == row["killed"] for row in parts)
    assert isinstance(evaluation.metadata["seed"].value, int)
    assert not list(corpus.lake.runs("x").parent.glob("verify-*"))


@pytest.mark.slow
def test_it_fails_on_a_run_that_differs(
    own_corpus: Corpus, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = short(plan)
    compiled = compile_pinned(plan, own_corpus.lake, stage="fast")

    def tampered(lake: Lake, trained: Plan, snapshot: CorpusSnapshot, stage: str) -> None:
        train_here(lake, trained, snapshot, stage)
        if trained.name.endswith(proof.KILLED):
            named = proof.compile_plan(trained, snapshot, lake)
            with Spool(stage_run_folder(lake, named, stage) / SPOOL) as spool:
                spool.metrics({"train/loss": 1.0}, step=99, tokens=99)

    monkeypatch.setattr(proof, "_train", tampered)
    monkeypatch.setattr(proof, "_kill_points", lambda *_: iter(()))
    done = execute(own_corpus, plan, until="fast")
    assert compiled.snapshot and done.success, "a failed check is a result, not a crash"
    (evaluation,) = done.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.description == "fast: losses differ"


def _failure(done: dg.ExecuteInProcessResult) -> str | None:
    for event in done.all_events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            return data.user_failure_data.description if data.user_failure_data else str(data.error)
    return None
