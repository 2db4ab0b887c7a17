"""The corpus that a verdict compares on: what the plan keeps to, unless a person says otherwise."""

from __future__ import annotations

from collections.abc import Callable

from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import compile_plan
from medpipe.pretrain.curriculum import pin_snapshot, pinned_snapshot
from medpipe.pretrain.plan import STAGES, Plan, PlanError
from medpipe.pretrain.result import read_result, stage_run_folder
from medpipe.pretrain.run_folder import RESULT
from medpipe.pretrain.stage_facts import read_stage
from medpipe.tokens.snapshot import CURRENT, CorpusSnapshot, read_snapshot


def verdict_snapshot(
    plan: Plan, lake: Lake, *, name: str | None, say: Callable[[str], None]
) -> CorpusSnapshot:
    """Chooses the snapshot and pins it, so that a refresh of the corpus does not begin a comparison at zero.

    The comparison has a pin of its own, `runs/<plan>-verdict/`: what its arms read is named there before the
    first of them is trained.

    Args:
        plan: the plan.
        lake: where its runs lie.
        name: a snapshot's name, or `current`; None for the one that the plan's runs are pinned to, else
            that of an earlier call, else the current one.
        say: told where the choice is not the newest, or leaves a finished stable stage behind.

    Raises:
        SnapshotError: there is none of that name.
        PlanError: the plan does not fit it.
        StageFactsError: a finished run of the plan has no readable facts.
    """
    comparison = plan.model_copy(update={"name": f"{plan.name}-verdict"})
    if name is None:
        chosen = _pinned(plan, "the plan's runs are", lake, say) or _pinned(
            comparison, "an earlier call is", lake, say
        )
    else:
        chosen = read_snapshot(lake, name)
    chosen = chosen or read_snapshot(lake, CURRENT)
    compiled = compile_plan(plan, chosen, lake)
    pin_snapshot(comparison, lake, chosen.name)
    stable = compiled.stage(STAGES[1])
    if stable.taken_from is None and read_result(stage_run_folder(lake, compiled, stable.name)) is None:
        for other in _finished_on(plan, lake, stable.name):
            say(
                f"stage {stable.name} is finished on snapshot {other}, not on {chosen.name}: it is trained "
                f"again; --snapshot {other} goes on from it"
            )
    return chosen


def _pinned(plan: Plan, who: str, lake: Lake, say: Callable[[str], None]) -> CorpusSnapshot | None:
    """The snapshot that somebody keeps to; None where nobody has begun."""
    try:
        chosen = pinned_snapshot(plan, lake)
    except PlanError:
        return None
    say(f"snapshot {chosen.name}: {who} pinned to it; --snapshot current is the newest")
    return chosen


def _finished_on(plan: Plan, lake: Lake, stage: str) -> list[str]:
    """Snapshots on which runs of this plan's name have finished a stage."""
    folders = [path.parent for path in lake.runs(plan.name).glob(f"*/{RESULT}")]
    facts = [read_stage(folder) for folder in folders]
    return sorted({each.snapshot for each in facts if each.stage == stage})
