"""Plans that go on from an earlier run: equal tokens are claimed only where they are equal."""

from __future__ import annotations

from typing import Any

from medpipe.evaluate.arm_choice import choose_arms, compile_arms
from medpipe.evaluate.arm_names import ArmName
from medpipe.evaluate.arm_trunk import earlier_run, trained_tokens
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.plan import Plan, StageName
from medpipe.pretrain.schedule import total_tokens
from medpipe_tests.evaluate.conftest import Trained

ARMS = (ArmName.CONTROL, ArmName.COSINE)


def refresh(trained: Trained, start: dict[str, Any], tokens: dict[StageName, int] | None = None) -> Plan:
    values = trained.plan.model_dump(mode="json", exclude_unset=True)
    for stage in values["stages"]:
        stage["tokens"] = (tokens or {}).get(stage["name"], stage["tokens"])
    return Plan.model_validate(values | {"name": "refreshed", "start_from": start})


def compiled_and_left_out(trained: Trained, plan: Plan) -> tuple[CompiledPlan, str | None]:
    compiled = trained.compile(plan)
    choice = choose_arms(
        compiled, ARMS, snapshot=trained.corpus.snapshot, lake=trained.lake, maximum_epochs=1e6
    )
    assert ArmName.CONTROL in choice.names
    return compiled, choice.left_out.get(ArmName.COSINE)


def test_a_refresh_with_the_earlier_budgets_has_a_cosine(trained: Trained) -> None:
    plan = refresh(trained, {"run": "measured"})
    compiled, reason = compiled_and_left_out(trained, plan)
    assert reason is None
    assert trained_tokens(compiled) == total_tokens(plan)
    assert earlier_run(compiled) == f"{compiled.start.run} on snapshot {compiled.snapshot}"
    assert earlier_run(trained.compiled) is None
    assert trained_tokens(trained.compiled) == total_tokens(trained.plan)


def test_other_budgets_leave_the_cosine_out_and_are_told(trained: Trained) -> None:
    plan = trained.plan
    fast = plan.stage_steps("fast") * plan.tokens_per_step
    changed = refresh(trained, {"run": "measured"}, {"fast": 2 * fast})
    compiled, reason = compiled_and_left_out(trained, changed)
    assert reason is not None and "tokens would not be equal" in reason
    assert f"{compiled.start.step:,} steps" in reason
    # What is told is what was trained, not what this plan would have scheduled.
    assert trained_tokens(compiled) == total_tokens(plan) == total_tokens(changed) - fast
    # The arms, which go on from a checkpoint of their own naming, stand on the same.
    choice = choose_arms(
        compiled, ARMS, snapshot=trained.corpus.snapshot, lake=trained.lake, maximum_epochs=1e6
    )
    arms = compile_arms(
        compiled,
        choice,
        seeds=1,
        snapshot=trained.corpus.snapshot,
        lake=trained.lake,
        maximum_epochs=1e6,
    )
    assert {trained_tokens(arm.compiled) for arm in arms} == {total_tokens(plan)}


def test_a_checkpoint_within_a_stage_and_one_that_repeats_a_stage(trained: Trained) -> None:
    folders = trained.lake.runs("measured").glob("*/checkpoints/*")
    end = trained.compiled.stage("anneal").first_step
    fast = trained.compiled.stage("stable").first_step
    (within,) = sorted(path for path in folders if fast < int(path.name) < end)[-1:]
    compiled, reason = compiled_and_left_out(trained, refresh(trained, {"checkpoint": str(within)}))
    assert reason is not None and f"{int(within.name):,} steps" in reason
    missing = (end - int(within.name)) * trained.plan.tokens_per_step
    assert trained_tokens(compiled) == total_tokens(trained.plan) - missing

    twice = refresh(trained, {"run": "measured", "at": "stable"})
    compiled, reason = compiled_and_left_out(trained, twice)
    assert reason is not None and "before stable" in reason
    again = trained.plan.stage_steps("stable") * trained.plan.tokens_per_step
    assert trained_tokens(compiled) == total_tokens(trained.plan) + again


def test_another_batch_leaves_the_cosine_out(trained: Trained) -> None:
    plan = refresh(trained, {"run": "measured"})
    plan = plan.model_copy(update={"batch_sequences": 2 * plan.sequences_per_step})
    _, reason = compiled_and_left_out(trained, plan)
    assert reason is not None and "tokens and batch" in reason
