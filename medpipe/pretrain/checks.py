"""Checks of a curriculum that somebody asks for: `checkpoints_are_intact`, and the proof of exact resume."""

import random
import signal
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from medpipe.asset_metadata import facts_table, failure, plain_failures
from medpipe.lake.layout import Lake
from medpipe.pretrain.assets import GPU_POOL, stage_key
from medpipe.pretrain.configured import chosen_plan
from medpipe.pretrain.guard import end_with_the_run
from medpipe.pretrain.plan import STAGES, Plan, StageName
from medpipe.run_form import RunForm
from medpipe.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medpipe.pretrain.verify_resume import Comparison

RESUME_IS_EXACT = dg.AssetCheckKey(stage_key(STAGES[-1]), "resume_is_exact")
CHECKPOINTS_INTACT = dg.AssetCheckKey(stage_key(STAGES[-1]), "checkpoints_are_intact")
_SHOWN = 16


class ResumeProof(dg.Config):
    """How far the proof goes."""

    asked_for: bool = Field(
        default=True, description="Whether to train at all; the job `verify` has a switch."
    )
    until: str = Field(default=STAGES[-1], description=f"Last stage to compare: {', '.join(STAGES)}.")
    seed: int | None = Field(default=None, description="Of the steps to kill at; drawn if left out.")


def build_checkpoint_check(plan: Plan, *, settings: Settings, lake: Lake) -> dg.AssetChecksDefinition:
    """The check of every checkpoint that the plan's curriculum has on the disk."""

    @dg.multi_asset_check(
        name=CHECKPOINTS_INTACT.name,
        specs=[
            dg.AssetCheckSpec(
                CHECKPOINTS_INTACT.name,
                asset=CHECKPOINTS_INTACT.asset_key,
                description=(
                    "Reads every file of every checkpoint of the curriculum again and compares the "
                    "checksums. In the job `verify`, or execute it alone."
                ),
            )
        ],
        can_subset=True,
    )
    def checkpoints_are_intact(context: dg.AssetCheckExecutionContext, form: RunForm) -> Any:
        from medpipe.pretrain.curriculum import compile_as_pinned
        from medpipe.pretrain.integrity import damaged_checkpoints

        if CHECKPOINTS_INTACT.asset_key in context.job_def.asset_layer.selected_asset_keys:
            context.log.info("not executed beside the training itself; execute it alone")
            return
        with plain_failures():
            compiled = compile_as_pinned(chosen_plan(plan, form, settings), lake)
            found = damaged_checkpoints(compiled, lake)
        damaged = {folder: mistakes for folder, mistakes in found.items() if mistakes}
        yield dg.AssetCheckResult(
            asset_key=CHECKPOINTS_INTACT.asset_key,
            check_name=CHECKPOINTS_INTACT.name,
            passed=bool(found) and not damaged,
            description=_damage(found, damaged),
            metadata={
                "plan": compiled.plan.name,
                "checkpoints": len(found),
                "mistakes": facts_table(
                    [
                        {"checkpoint": folder.as_posix(), "mistake": mistake}
                        for folder, mistakes in damaged.items()
                        for mistake in mistakes
                    ]
                ),
            },
        )

    return checkpoints_are_intact


def _damage(found: "Mapping[Path, list[str]]", damaged: "Mapping[Path, list[str]]") -> str | None:
    """What is wrong, and what to do about it."""
    if not found:
        return "the curriculum has no checkpoint on the disk yet; start the job pretrain_curriculum"
    if not damaged:
        return None
    folder, mistakes = next(iter(damaged.items()))
    return (
        f"{len(damaged)} of {len(found)} checkpoints are damaged: {folder}: {mistakes[0]}. Delete these "
        "folders and materialise their stages again: training goes on from the newest whole checkpoint"
    )


def build_resume_check(
    plan: Plan, *, lake: Lake, settings: Settings | None = None
) -> dg.AssetChecksDefinition:
    """The check of one plan: it takes more than twice the training time and is in no job but its own."""

    @dg.multi_asset_check(
        name=RESUME_IS_EXACT.name,
        specs=[
            dg.AssetCheckSpec(
                RESUME_IS_EXACT.name,
                asset=RESUME_IS_EXACT.asset_key,
                description=(
                    "Trains the plan straight and again with SIGKILL at random steps, in saves and at stage "
                    "borders, on the pinned snapshot: weights, moments, generators, counters and every loss "
                    "must be equal. Takes more than twice the training time; execute it alone."
                ),
            )
        ],
        can_subset=True,
        pool=GPU_POOL,
    )
    def resume_is_exact(context: dg.AssetCheckExecutionContext, config: ResumeProof, form: RunForm) -> Any:
        from medpipe.pretrain.curriculum import pinned_snapshot
        from medpipe.pretrain.verify_resume import VerifyError, verify_resume

        if not config.asked_for:
            context.log.info("the proof of exact resume is not asked for (prove_resume)")
            return
        if RESUME_IS_EXACT.asset_key in context.job_def.asset_layer.selected_asset_keys:
            context.log.info(
                "not executed beside the training itself: it would train twice more; execute it alone"
            )
            return
        end_with_the_run()
        # Polars' SIGINT handler restarts system calls; a cancelled check would wait for a trainer's end.
        signal.siginterrupt(signal.SIGINT, True)
        seed = random.SystemRandom().randrange(2**32) if config.seed is None else config.seed
        with plain_failures():
            chosen = plan if settings is None else chosen_plan(plan, form, settings)
            snapshot = pinned_snapshot(chosen, lake)
            until = _stage(config.until)
            try:
                compared = verify_resume(chosen, snapshot, lake, seed=seed, until=until, say=context.log.info)
            except VerifyError as error:
                raise failure(str(error)) from error
        yield _result(compared, seed=seed, snapshot=snapshot.name)

    return resume_is_exact


def _stage(name: str) -> StageName:
    for stage in STAGES:
        if stage == name:
            return stage
    raise ValueError(f"until: there is no stage '{name}'; say {', '.join(STAGES)}")


def _result(compared: "list[Comparison]", *, seed: int, snapshot: str) -> dg.AssetCheckResult:
    kills = [{"stage": each.stage, "killed at": ", ".join(each.killed_at)} for each in compared]
    parts = [
        {
            "stage": each.stage,
            "part": part,
            "straight": digest[:_SHOWN],
            "killed": each.killed.get(part, "missing")[:_SHOWN],
            "equal": part not in each.different,
        }
        for each in compared
        for part, digest in each.straight.items()
    ]
    different = [f"{each.stage}: {', '.join(each.different)}" for each in compared if each.different]
    return dg.AssetCheckResult(
        asset_key=RESUME_IS_EXACT.asset_key,
        check_name=RESUME_IS_EXACT.name,
        passed=bool(compared) and not different,
        description="; ".join(different) + " differ" if different else None,
        metadata={
            "kill points": facts_table(kills),
            "digests": facts_table(parts),
            "seed": seed,
            "corpus snapshot": snapshot,
        },
    )
