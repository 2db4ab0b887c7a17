"""A stage as its launcher sees it: what it is compiled to, where it runs, and how MLflow follows it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan, CompiledStage
from medpipe.pretrain.configured import configured_plan_file
from medpipe.pretrain.curriculum import FinishedStage, compile_pinned, curriculum_digest
from medpipe.pretrain.launch import trainer_command
from medpipe.pretrain.plan import STAGES, load_plan
from medpipe.pretrain.result import (
    SPOOL,
    ResultError,
    is_current,
    read_result,
    stage_run_folder,
    trainer_failure,
)
from medpipe.pretrain.shared_runs import share_run
from medpipe.pretrain.stage_facts import read_stage
from medpipe.pretrain.start import Start
from medpipe.settings import Settings
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tracking.facts import CurriculumFacts, DagsterLink, DatasetFacts, StageFacts, StartFacts
from medpipe.tracking.replay import SpoolReplay
from medpipe.tracking.runs import begin_stage


@dataclass(frozen=True)
class TrackedStage:
    """One stage that is about to run, or is complete already."""

    compiled: CompiledPlan
    stage: str
    folder: Path
    """Its run folder."""
    complete: bool
    """It has a result: nothing is left to train."""
    command: list[str]
    """Starts the trainer."""
    replay: SpoolReplay
    """Sends what the trainer notes to MLflow."""
    lake: Lake
    earlier: tuple[SpoolReplay, ...] = ()
    """The same for stages that were taken over and that no step of the graph stands for, since another stage
    of their name follows: with the first stage that the plan trains."""

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """MLflow follows while the block runs."""
        with contextlib.ExitStack() as stack:
            for replay in (*self.earlier, self.replay):
                stack.enter_context(replay.following())
            yield

    def finished(self, return_code: int | None = None) -> FinishedStage:
        """The stage's result; a store has the run from then on, too.

        Args:
            return_code: of the trainer's process, if known; negative for a signal.

        Raises:
            ResultError: the trainer ended without one; its own reason is told.
            StoreError: the store cannot be reached; the stage is complete here and is sent the next time.
        """
        result = read_result(self.folder)
        if result is None:
            reason = trainer_failure(self.folder, return_code) or "its output in the log tells why"
            raise ResultError(f"stage {self.stage} is not complete: {reason}")
        share_run(self.lake, self.folder)
        return FinishedStage(result, self.folder)


def track_stage(stage: str, *, settings: Settings, lake: Lake, dagster: DagsterLink | None) -> TrackedStage:
    """Compiles one stage of the plan that the settings name and prepares its runs in MLflow.

    Raises:
        PlanError: the plan does not fit the corpus, or the first stage has not run yet.
    """
    plan_file = configured_plan_file(settings, lake)
    compiled = compile_pinned(load_plan(plan_file), lake, stage=stage, snapshot=settings.snapshot)
    return track_compiled(compiled, stage, plan_file=plan_file, settings=settings, lake=lake, dagster=dagster)


def track_compiled(
    compiled: CompiledPlan,
    stage: str,
    *,
    plan_file: Path,
    settings: Settings,
    lake: Lake,
    dagster: DagsterLink | None = None,
) -> TrackedStage:
    """Prepares one stage of a compiled plan and its runs in MLflow.

    Args:
        compiled: the plan.
        stage: the stage.
        plan_file: the file it was read from; the trainer reads it again.
        settings: name the MLflow server.
        lake: where the stage runs.
        dagster: the Dagster run that it belongs to.
    """
    folder = stage_run_folder(lake, compiled, stage)
    complete = is_current(folder, compiled)
    curriculum = _curriculum_facts(compiled, plan_file, lake)

    def replay(each: CompiledStage, *, complete: bool = True) -> SpoolReplay:
        place = stage_run_folder(lake, compiled, each.label)
        facts = _stage_facts(compiled, each, place, lake, complete=complete)
        return SpoolReplay(
            settings,
            place / SPOOL,
            lambda: begin_stage(settings, curriculum=curriculum, stage=facts, dagster=dagster),
            run_folder=place,
            last_step=_last_step(compiled, each),
        )

    begins_here = compiled.start is not None and compiled.start.at == stage
    return TrackedStage(
        compiled=compiled,
        stage=stage,
        folder=folder,
        complete=complete,
        lake=lake,
        command=trainer_command(
            lake=lake.root,
            plan=plan_file,
            snapshot=compiled.snapshot,
            stage=stage,
            processes=compiled.plan.devices.processes,
        ),
        replay=replay(compiled.stage(stage), complete=complete),
        earlier=tuple(replay(each) for each in compiled.stages if each.earlier) if begins_here else (),
    )


def _last_step(compiled: CompiledPlan, stage: CompiledStage) -> int | None:
    """Global step behind which a stage that was taken over is another branch; None for an own stage."""
    if stage.taken_from is None:
        return None
    return next(behind.first_step for each, behind in itertools.pairwise(compiled.stages) if each is stage)


def _curriculum_facts(compiled: CompiledPlan, plan_file: Path, lake: Lake) -> CurriculumFacts:
    return CurriculumFacts(
        name=compiled.plan.name,
        digest=curriculum_digest(compiled),
        plan_yaml=plan_file.read_text(encoding="utf-8"),
        params=compiled.plan.model_dump(mode="json"),
        tokenizer=compiled.tokenizer.digest,
        snapshot=compiled.snapshot,
        revisions=read_snapshot(lake, compiled.snapshot).revisions,
        start=_start_facts(compiled.start),
    )


def _start_facts(start: Start | None) -> StartFacts | None:
    """Where a curriculum goes on from; None for fresh weights and those of a published model."""
    if start is None or start.run is None or start.stage_digest is None:
        return None
    return StartFacts(
        run=start.run,
        stage=start.stage_name or "",
        stage_digest=start.stage_digest,
        checkpoint=start.content,
        step=start.step,
        snapshot=start.snapshot or "",
    )


def _stage_facts(
    compiled: CompiledPlan, stage: CompiledStage, folder: Path, lake: Lake, *, complete: bool
) -> StageFacts:
    """A stage as MLflow is told of it; what was taken over, as the earlier run noted it in its folder."""
    params: dict[str, Any]
    if stage.taken_from is None:
        seed, params = compiled.plan.seed, compiled.plan.stage(stage.name).model_dump(mode="json")
        keys = {shard.key for shard in stage.shards}
    else:
        noted = read_stage(folder)
        seed, params = noted.seed, next(s for s in noted.plan["stages"] if s["name"] == stage.name)
        keys = {key for component in noted.components for key in component.shards}
    read = {tuple(key.split("/")[:3]) for key in keys}
    return StageFacts(
        name=stage.label,
        digest=stage.digest,
        seed=seed,
        last=stage.label == STAGES[-1],
        complete=complete,
        params=params,
        datasets=[
            DatasetFacts(
                name=f"shards/{domain}/{source}",
                digest=digest,
                uri=lake.dataset("shards", domain, source, digest=digest).as_uri(),
            )
            for domain, source, digest in sorted(read)
        ],
    )
