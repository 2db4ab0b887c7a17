"""What the proof of exact resume is made of; the whole of it is shown by `test_resume_check.py`."""

from __future__ import annotations

import os
import random

import pytest

from medpipe.pretrain import verify_resume as module
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.guard import run_lock
from medpipe.pretrain.kill_points import arm
from medpipe.pretrain.plan import Plan
from medpipe.pretrain.verify_resume import Comparison, VerifyError, verify_resume
from medpipe_tests.pretrain.corpus import Corpus


def short(plan: Plan) -> Plan:
    """The same with four steps a stage."""
    stages = [
        stage.model_copy(
            update={
                "tokens": 4 * plan.tokens_per_step,
                "learning_rate": stage.learning_rate.model_copy(
                    update={"warmup_tokens": min(stage.learning_rate.warmup_tokens, plan.tokens_per_step)}
                ),
            }
        )
        for stage in plan.stages
    ]
    values = plan.model_dump(mode="json") | {"stages": [stage.model_dump(mode="json") for stage in stages]}
    less = {"checkpoint_every_steps": 2, "sample": {"prompts": [], "tokens": 1}, "maximum_epochs": 100}
    return Plan.model_validate(values | less)


def test_what_differs_is_named() -> None:
    comparison = Comparison(
        stage="fast",
        killed_at=("border",),
        straight={"weights": "a", "losses": "b"},
        killed={"weights": "a", "losses": "c"},
    )
    assert comparison.different == ["losses"]


@pytest.mark.parametrize("seed", range(20))
def test_kill_points_lie_inside_their_stage(compiled: CompiledPlan, seed: int) -> None:
    for stage in compiled.stages:
        saving, *steps, border = module._kill_points(compiled, stage.name, random.Random(seed))
        first, last = stage.first_step, stage.first_step + stage.steps
        saved = int(saving.removeprefix("saving:"))
        before = max([first, *(step for step in range(first, saved) if step % 6 == 0)])
        assert first < saved <= last and (saved % 6 == 0 or saved == last)
        assert all(before < int(step.removeprefix("step:")) < last for step in steps)
        assert border == "border"


def test_a_trainer_that_fails_is_an_error_with_its_words(own_corpus: Corpus, plan: Plan) -> None:
    for shard in own_corpus.lake.room("shards").rglob("*.bin"):
        shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(VerifyError, match=r"stage fast, failed: fast: error: .*bin"):
        verify_resume(short(plan), own_corpus.snapshot, own_corpus.lake)


def test_a_second_proof_of_the_same_plan_is_refused_and_touches_nothing(
    own_corpus: Corpus, plan: Plan
) -> None:
    """It would remove the folders that the first one trains in."""
    kept = own_corpus.lake.runs(f"verify-{plan.name}-straight") / "metrics"
    kept.mkdir(parents=True)
    refused = pytest.raises(VerifyError, match=f"process {os.getpid()} is verifying plan tiny in this lake")
    with run_lock(own_corpus.lake.runs(plan.name) / "verify"), refused:
        verify_resume(plan, own_corpus.snapshot, own_corpus.lake)
    assert kept.is_dir()


def test_an_unknown_kill_point_is_refused() -> None:
    with pytest.raises(ValueError, match="no kill point 'noon'"):
        arm("noon")
