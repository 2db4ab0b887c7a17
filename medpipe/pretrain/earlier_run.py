"""The run folders of an earlier run: which one a plan's `start_from` names, and those before it."""

from __future__ import annotations

from pathlib import Path

from medpipe.lake.layout import Lake
from medpipe.pretrain.plan import StartFrom
from medpipe.pretrain.result import ResultError, read_result
from medpipe.pretrain.run_folder import RESULT, STAGE
from medpipe.pretrain.stage_facts import StageFacts, read_stage


class StartError(ValueError):
    """One reason why a plan cannot go on from where it says; the message names the fix."""


def named_checkpoint(start: StartFrom, lake: Lake) -> tuple[Path, Path]:
    """Run folder and checkpoint that `run` or `checkpoint` names.

    Raises:
        StartError: there is none, there are several, or its result cannot be read.
        StageFactsError: the facts of a stage cannot be read.
    """
    if start.checkpoint is not None:
        checkpoint = Path.cwd() / start.checkpoint.expanduser()
        folder = checkpoint.parent.parent
        if not (folder / STAGE).is_file():
            raise StartError(
                f"{checkpoint} lies in no run folder ({folder / STAGE} is missing); name it there"
            )
        return folder, checkpoint
    curriculum, _, name = (start.run or "").partition("/")
    runs = lake.runs(curriculum)
    folder = runs / name if name else _only_run(runs, start.stage)
    try:
        result = read_result(folder)
    except ResultError as error:
        raise StartError(str(error)) from None
    if result is None:
        raise StartError(f"{folder} holds no finished stage; finish that run first")
    return folder, folder / result.checkpoint


def _only_run(runs: Path, stage: str) -> Path:
    """The one run folder with this stage from a curriculum's own beginning.

    Those that were themselves started from elsewhere do not count: else a refresh of a stage would make its
    own plan ambiguous.
    """
    found = []
    for path in sorted(runs.glob(f"*/{RESULT}")):
        facts = read_stage(path.parent)
        if facts.stage == stage and not facts.plan.get("start_from"):
            found.append((path.parent, facts.snapshot))
    if not found:
        raise StartError(
            f"no finished stage {stage} in {runs}; run that curriculum first, or correct the name"
        )
    if len(found) > 1:
        names = ", ".join(f"{runs.name}/{path.name} (snapshot {snapshot})" for path, snapshot in found)
        raise StartError(f"{runs.name} has trained stage {stage} more than once; set run to one of {names}")
    return found[0][0]


def chain_of(folder: Path, stage: StageFacts) -> list[tuple[Path, StageFacts]]:
    """Run folder and facts of the stages before one, as far as they are still there, and of itself.

    Raises:
        StageFactsError: the facts of one of them cannot be read.
    """
    seed = folder.name.rpartition("-")[2]
    before = folder.parents[1] / (stage.parent_run or f"{folder.parent.name}/{stage.parent}-{seed}")
    earlier = chain_of(before, read_stage(before)) if (before / STAGE).is_file() else []
    return [*earlier, (folder, stage)]
