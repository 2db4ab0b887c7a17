"""Proves that a killed and resumed curriculum ends with the bytes of one that was never killed.

The plan is trained twice under names of its own: once straight; once with SIGKILL at a random step, while a
checkpoint is being written and at the border of each stage. What is left of each stage is compared: weights,
moments, generators, cursor and all other state, every loss, every measurement.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medpipe.lake.digest import digest_value, sha256_file
from medpipe.lake.layout import Lake
from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.guard import RunLockedError, run_lock
from medpipe.pretrain.kill_points import BORDER, SAVING, STEP
from medpipe.pretrain.launch import trainer_command, trainer_environment
from medpipe.pretrain.plan import STAGES, Plan, StageName
from medpipe.pretrain.result import CHECKPOINTS, SPOOL, read_result, stage_run_folder
from medpipe.tokens.snapshot import CorpusSnapshot
from medpipe.tracking.spool import read_events

STRAIGHT, KILLED = "straight", "killed"
_WORKER = "medpipe.pretrain.worker"

News = Callable[[str], None]


class VerifyError(ValueError):
    """Nothing is to be trained, somebody verifies the plan already, or a trainer failed and is quoted."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One stage of both runs."""

    stage: str
    killed_at: tuple[str, ...]
    straight: dict[str, str]
    """Digest by part: weights, moments, state, losses, checkpoints, result."""
    killed: dict[str, str]

    @property
    def different(self) -> list[str]:
        """The parts that are not equal."""
        return [part for part, digest in self.straight.items() if self.killed.get(part) != digest]


def verify_resume(
    plan: Plan,
    snapshot: CorpusSnapshot,
    lake: Lake,
    *,
    seed: int | None = None,
    until: StageName = STAGES[-1],
    say: News = lambda _: None,
) -> list[Comparison]:
    """Trains a plan twice and compares, stage by stage.

    Args:
        plan: the plan; it takes a little more than twice its training time.
        snapshot: the corpus.
        lake: where the corpus lies; both runs go to `runs/verify-<plan>-…`, which is removed before, and
            after if all is equal.
        seed: of the kill points; drawn if unset.
        until: last stage to train and compare.
        say: takes a line of news at a time.

    Returns:
        One comparison a stage; none for those that the plan takes over from an earlier run.

    Raises:
        PlanError: the plan does not fit the corpus.
        VerifyError: a trainer failed, all stages as far as `until` are taken over, or another process
            verifies the same plan.
    """
    try:
        with run_lock(lake.runs(plan.name) / "verify"):
            return _verify(plan, snapshot, lake, seed=seed, until=until, say=say)
    except RunLockedError as error:
        raise VerifyError(
            f"process {error.holder} is verifying plan {plan.name} in this lake; wait until it ends, or stop "
            f"it with `kill -INT {error.holder}`"
        ) from None


def _verify(
    plan: Plan,
    snapshot: CorpusSnapshot,
    lake: Lake,
    *,
    seed: int | None,
    until: StageName,
    say: News,
) -> list[Comparison]:
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    draw = random.Random(seed)
    say(f"kill points are drawn with seed {seed}")
    runs = {
        name: plan.model_copy(update={"name": f"verify-{plan.name}-{name}"}) for name in (STRAIGHT, KILLED)
    }
    compiled = {name: compile_plan(each, snapshot, lake) for name, each in runs.items()}
    as_far_as = STAGES[: STAGES.index(until) + 1]
    own = [each.name for each in compiled[STRAIGHT].stages if each.taken_from is None]
    to_train = [stage for stage in as_far_as if stage in own]
    if not to_train:
        raise VerifyError(
            f"all stages up to {until} are taken over from an earlier run; choose a later one: "
            f"{', '.join(own)}"
        )
    for each in runs.values():
        shutil.rmtree(lake.runs(each.name), ignore_errors=True)
    comparisons = []
    for stage in to_train:
        say(f"{stage}: straight through")
        _train(lake, runs[STRAIGHT], snapshot, stage)
        points = list(_kill_points(compiled[KILLED], stage, draw))
        for point in points:
            say(f"{stage}: SIGKILL at {point}")
            _train_until_killed(lake, runs[KILLED], snapshot, stage, point)
        _train(lake, runs[KILLED], snapshot, stage)
        comparison = Comparison(
            stage=stage,
            killed_at=tuple(points),
            **{name: _outcome(stage_run_folder(lake, each, stage)) for name, each in compiled.items()},
        )
        different = comparison.different
        say(f"{stage}: " + (f"{', '.join(different)} differ" if different else "equal to the last bit"))
        comparisons.append(comparison)
    if not any(each.different for each in comparisons):
        for each in runs.values():
            shutil.rmtree(lake.runs(each.name), ignore_errors=True)
    return comparisons


def _kill_points(compiled: CompiledPlan, stage: str, draw: random.Random) -> Iterator[str]:
    """In an order in which a resumed trainer comes by each of them.

    Killed in a save, it goes on from the checkpoint before, which is whole: the next one is written only
    when that is done. So any step behind that one is taken again.
    """
    of_stage = compiled.stage(stage)
    first, last = of_stage.first_step, of_stage.first_step + of_stage.steps
    interval = compiled.plan.checkpoint_every_steps
    saved = [first, *(step for step in range(first + 1, last) if step % interval == 0), last]
    place = draw.randrange(1, len(saved))
    yield f"{SAVING}:{saved[place]}"
    if saved[place - 1] + 1 < last:
        yield f"{STEP}:{draw.randrange(saved[place - 1] + 1, last)}"
    yield BORDER


def _plan_file(lake: Lake, plan: Plan) -> Path:
    folder = lake.runs(plan.name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.yaml"
    values = plan.model_dump(mode="json", exclude_unset=True)
    path.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def _command(lake: Lake, plan: Plan, snapshot: CorpusSnapshot, stage: str) -> list[str]:
    return trainer_command(
        lake=lake.root, plan=_plan_file(lake, plan), snapshot=snapshot.name, stage=stage, processes=1
    )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=os.environ | trainer_environment(), capture_output=True, text=True, check=False
    )


def _train(lake: Lake, plan: Plan, snapshot: CorpusSnapshot, stage: str) -> None:
    done = _run(_command(lake, plan, snapshot, stage))
    if done.returncode != 0:
        raise VerifyError(f"the trainer of {plan.name}, stage {stage}, failed: {_last_line(done)}")


def _train_until_killed(lake: Lake, plan: Plan, snapshot: CorpusSnapshot, stage: str, point: str) -> None:
    command = _command(lake, plan, snapshot, stage)
    options = command[command.index(_WORKER) + 1 :]
    guard = command[: command.index("--") + 1]
    done = _run([*guard, sys.executable, "-m", "medpipe.pretrain.kill_points", point, *options])
    if done.returncode != -signal.SIGKILL:
        raise VerifyError(
            f"the trainer of {plan.name}, stage {stage}, was to be killed at {point} and ended with status "
            f"{done.returncode}: {_last_line(done)}"
        )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


def _outcome(folder: Path) -> dict[str, str]:
    """Digests of everything that must not depend on where a run was killed."""
    from medpipe.pretrain.checkpoint import OPTIMIZER, WEIGHTS, read_state

    result = read_result(folder)
    if result is None:
        raise VerifyError(f"{folder} has no result although its trainer ended well")
    final = folder / result.checkpoint
    state = read_state(final).model_dump(mode="json", exclude={"seconds", "curriculum"})
    events: list[Any] = list(read_events(folder / SPOOL))
    kept = sorted(path.name for path in (folder / CHECKPOINTS).iterdir() if path.name.isdigit())
    metrics = [[e.step, e.tokens, e.values["train/loss"]] for e in events if e.kind == "metrics"]
    noted = [[e.step, e.path, e.values] for e in events if e.kind == "checkpoint"]
    return {
        "weights": sha256_file(final / WEIGHTS),
        "moments": sha256_file(final / OPTIMIZER),
        "generators": digest_value(state.pop("rng")),
        "cursor and counters": digest_value(state),
        "losses": digest_value([[step, tokens, loss.hex()] for step, tokens, loss in metrics]),
        "checkpoints": digest_value([kept, noted]),
        "result": digest_value(result.model_dump(mode="json", exclude={"seconds"})),
    }
