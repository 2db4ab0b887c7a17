"""The run folders of an earlier run: which one a plan's `start_from` names, and what its stages note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpipe.lake.layout import Lake
from medpipe.pretrain.plan import StageName, StartFrom
from medpipe.pretrain.result import ResultError, read_result
from medpipe.pretrain.run_folder import RESULT, STAGE


class StartError(ValueError):
    """One reason why a plan cannot go on from where it says; the message names the fix."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


class ComponentFacts(_Facts):
    """What a stage read of one entry of its mixture."""

    epochs: float
    shards: tuple[str, ...]
    """Their keys."""


class StageFacts(_Facts):
    """What of `stage.json` a plan that goes on from the stage has to know."""

    stage: StageName
    digest: str
    parent: str | None
    parent_run: str | None = None
    """Run folder of the stage before, where that lies with another curriculum."""
    first_step: int = Field(ge=0)
    steps: int = Field(gt=0)
    sequences_per_step: int = Field(gt=0)
    sequence_length: int = Field(gt=0)
    snapshot: str
    components: tuple[ComponentFacts, ...]
    plan: dict[str, Any]
    start_from: dict[str, Any] | None = None
    """The checkpoint from elsewhere that it began with."""


def read_stage(folder: Path) -> StageFacts:
    """What a run folder's `stage.json` says.

    Raises:
        StartError: it is missing, or not what a trainer writes.
    """
    path = folder / STAGE
    try:
        return StageFacts.model_validate(orjson.loads(path.read_bytes()))
    except ValidationError as error:
        places = {".".join(map(str, each["loc"])) or "all of it" for each in error.errors()}
        reason = f"wrong or missing: {', '.join(sorted(places))}"
    except (OSError, orjson.JSONDecodeError) as error:
        reason = str(error)
    raise StartError(
        f"{path} cannot be read ({reason}); bring it back, or remove {folder / RESULT} and run that stage "
        "again with its own plan: it goes on from its last checkpoint and writes both anew"
    )


def named_checkpoint(start: StartFrom, lake: Lake) -> tuple[Path, Path]:
    """Run folder and checkpoint that `run` or `checkpoint` names.

    Raises:
        StartError: there is none, there are several, or what lies there cannot be read.
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
        StartError: the facts of one of them cannot be read.
    """
    seed = folder.name.rpartition("-")[2]
    before = folder.parents[1] / (stage.parent_run or f"{folder.parent.name}/{stage.parent}-{seed}")
    earlier = chain_of(before, read_stage(before)) if (before / STAGE).is_file() else []
    return [*earlier, (folder, stage)]
