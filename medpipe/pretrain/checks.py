"""`resume_is_exact` on `pretrain/converge`: the proof of exact resume, when somebody asks for it."""

import random
import signal
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from medpipe.asset_metadata import facts_table, plain_failures
from medpipe.lake.layout import Lake
from medpipe.pretrain.assets import GPU_POOL, stage_key
from medpipe.pretrain.guard import end_with_the_run
from medpipe.pretrain.plan import STAGES, Plan, StageName

if TYPE_CHECKING:
    from medpipe.pretrain.verify_resume import Comparison

RESUME_IS_EXACT = dg.AssetCheckKey(stage_key(STAGES[-1]), "resume_is_exact")
_SHOWN = 16


class ResumeProof(dg.Config):
    """How far the proof goes."""

    until: str = Field(default=STAGES[-1], description=f"Last stage to compare: {', '.join(STAGES)}.")
    seed: int | None = Field(default=None, description="Of the steps to kill at; drawn if left out.")


def build_resume_check(plan: Plan, *, lake: Lake) -> dg.AssetChecksDefinition:
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
    def resume_is_exact(context: dg.AssetCheckExecutionContext, config: ResumeProof) -> Any:
        from medpipe.pretrain.curriculum import pinned_snapshot
        from medpipe.pretrain.verify_resume import VerifyError, verify_resume

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
            snapshot = pinned_snapshot(plan, lake)
            until = _stage(config.until)
            try:
                compared = verify_resume(plan, snapshot, lake, seed=seed, until=until, say=context.log.info)
            except VerifyError as error:
                raise dg.Failure(description=str(error), allow_retries=False) from error
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
