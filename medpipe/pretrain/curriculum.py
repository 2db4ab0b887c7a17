"""One curriculum over its four stages: the snapshot it pins and what its stages left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from medpipe.lake.digest import digest_value
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.lake.shared_files import refresh_file, share
from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.plan import STAGES, Plan, PlanError
from medpipe.pretrain.result import StageResult, read_result, stage_run_folder
from medpipe.pretrain.shared_runs import fetch_origin, fetch_runs
from medpipe.pretrain.start import first_trained_stage
from medpipe.tokens.snapshot import CURRENT, CorpusSnapshot, read_snapshot

PIN = "pinned.json"


@dataclass(frozen=True)
class FinishedStage:
    """A complete stage and where it lies."""

    result: StageResult
    run_folder: Path

    @property
    def checkpoint(self) -> Path:
        """Folder of the stage's last checkpoint."""
        return self.run_folder / self.result.checkpoint


def _pin_path(plan: Plan, lake: Lake) -> Path:
    """A plan that goes on from an earlier run has a pin of its own: that run keeps to its snapshot."""
    start = plan.start_from
    if start is None or start.model is not None:
        return lake.runs(plan.name) / PIN
    return lake.runs(plan.name) / f"pinned-{digest_value(start.model_dump(mode='json'))[:12]}.json"


def compile_pinned(plan: Plan, lake: Lake, *, stage: str, snapshot: str = CURRENT) -> CompiledPlan:
    """Compiles a plan against the snapshot that its curriculum trains on.

    The first stage, and the first that a plan with `start_from` trains, pins the newest snapshot; the later
    ones keep to that pin, so that a refresh between two stages does not disturb the curriculum.

    Args:
        plan: the plan.
        lake: the lake.
        stage: the stage that is about to run.
        snapshot: the one to train on, by digest or name; the newest one if unset.

    Raises:
        PlanError: the plan does not fit the corpus, a later stage runs before the first one, or the snapshot
            that is asked for is not the pinned one.
        SnapshotError: there is no such snapshot.
    """
    fetch_origin(lake, plan.start_from)
    first = first_trained_stage(plan, lake)
    if stage not in (STAGES[0], first):
        if snapshot != CURRENT:
            _require_pinned(plan, lake, read_snapshot(lake, snapshot).name, first=first)
        return compile_as_pinned(plan, lake)
    compiled = compile_plan(plan, read_snapshot(lake, snapshot), lake)
    pin_snapshot(plan, lake, compiled.snapshot)
    fetch_runs(lake, _run_folders(compiled, lake))
    return compiled


def _require_pinned(plan: Plan, lake: Lake, asked: str, *, first: str) -> None:
    pinned = pinned_snapshot(plan, lake).name
    if asked != pinned:
        raise PlanError(
            f"plan {plan.name}",
            [
                f"MEDPIPE_SNAPSHOT (--snapshot) asks for {asked}, but the curriculum is pinned to {pinned}; "
                f"materialise pretrain/{first} with the same setting first, it pins"
            ],
        )


def pin_snapshot(plan: Plan, lake: Lake, snapshot: str) -> None:
    """Lets a curriculum keep to a snapshot."""
    write_json_atomically(_pin_path(plan, lake), {"snapshot": snapshot})
    share(lake, _pin_path(plan, lake))


def _run_folders(compiled: CompiledPlan, lake: Lake) -> list[Path]:
    return [stage_run_folder(lake, compiled, stage.name) for stage in compiled.stages]


def pinned_snapshot(plan: Plan, lake: Lake) -> CorpusSnapshot:
    """The snapshot that a curriculum keeps to.

    Raises:
        PlanError: none of its stages has run yet.
    """
    return read_snapshot(lake, _pinned_snapshot(plan, lake))


def _pinned_snapshot(plan: Plan, lake: Lake) -> str:
    refresh_file(lake, _pin_path(plan, lake))
    try:
        return str(orjson.loads(_pin_path(plan, lake).read_bytes())["snapshot"])
    except FileNotFoundError:
        raise PlanError(
            f"plan {plan.name}",
            [f"no stage has run yet; materialise pretrain/{STAGES[0]} first, it pins the corpus snapshot"],
        ) from None


def compile_as_pinned(plan: Plan, lake: Lake) -> CompiledPlan:
    """Compiles a plan against the snapshot that its curriculum has pinned; pins nothing.

    Raises:
        PlanError: the plan does not fit the corpus, or no stage has run yet.
    """
    fetch_origin(lake, plan.start_from)
    compiled = compile_plan(plan, pinned_snapshot(plan, lake), lake)
    fetch_runs(lake, _run_folders(compiled, lake))
    return compiled


@dataclass(frozen=True)
class PinnedStage:
    """A stage of the pinned curriculum, finished or not."""

    name: str
    """Its label in the compiled plan."""
    run_folder: Path
    result: StageResult | None
    """None where it is not complete, or where the curriculum left an earlier run before the stage's end."""
    last_step: int
    """Global step at which the next stage of this curriculum begins: what an earlier run trained beyond is
    another branch."""


def pinned_stages(compiled: CompiledPlan, lake: Lake) -> list[PinnedStage]:
    """All stages of a curriculum in their order, those that an earlier run trained included.

    Raises:
        ResultError: a stage's result cannot be read.
    """
    behind = [*(stage.first_step for stage in compiled.stages[1:]), None]
    stages = []
    for stage, limit in zip(compiled.stages, behind, strict=True):
        folder = stage_run_folder(lake, compiled, stage.label)
        end = stage.first_step + stage.steps
        last = end if limit is None else limit
        result = read_result(folder) if last >= end else None
        stages.append(PinnedStage(stage.label, folder, result, last))
    return stages


def finished_stages(plan: Plan, lake: Lake) -> list[FinishedStage]:
    """The stages of the pinned curriculum, those taken over from an earlier run included.

    Raises:
        PlanError: a stage is not complete.
    """
    compiled = compile_as_pinned(plan, lake)
    folders = [stage_run_folder(lake, compiled, stage.label) for stage in compiled.stages]
    results = [read_result(folder) for folder in folders]
    missing = [
        stage.name
        for stage, result in zip(compiled.stages, results, strict=True)
        if result is None and stage.taken_from is None
    ]
    if missing:
        raise PlanError(
            f"plan {plan.name}",
            [f"stage {name} is not complete; materialise pretrain/{name}" for name in missing],
        )
    return [
        FinishedStage(result, folder)
        for result, folder in zip(results, folders, strict=True)
        if result is not None
    ]


def curriculum_digest(compiled: CompiledPlan) -> str:
    """Digest of a whole curriculum: its last stage, which chains all before it, and its seed."""
    return digest_value([compiled.stages[-1].digest, compiled.plan.seed])
