"""What a run folder's `stage.json` says of its stage; `describe_stage` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medpipe.pretrain.plan import StageName
from medpipe.pretrain.run_folder import RESULT, STAGE


class StageFactsError(ValueError):
    """A `stage.json` cannot be read; the message names it and the fix."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


class ComponentFacts(_Facts):
    """What a stage read of one entry of its mixture."""

    samples: int
    epochs: float
    shards: tuple[str, ...]
    """Their keys."""


class StageFacts(_Facts):
    """What of `stage.json` lineage and a plan that goes on from the stage have to know."""

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
    tokenizer: str
    components: tuple[ComponentFacts, ...]
    plan: dict[str, Any]
    start_from: dict[str, Any] | None = None
    """The checkpoint from elsewhere that it began with."""

    @field_validator("plan")
    @classmethod
    def _has_a_seed(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("seed"), int):
            raise ValueError("the seed is missing")
        return value

    @property
    def seed(self) -> int:
        """Seed of weights and data order, by which the run folder is named, too."""
        return int(self.plan["seed"])


def read_stage(folder: Path) -> StageFacts:
    """What a run folder's `stage.json` says.

    Raises:
        StageFactsError: it is missing, or not what a trainer writes.
    """
    path = folder / STAGE
    try:
        return StageFacts.model_validate(orjson.loads(path.read_bytes()))
    except ValidationError as error:
        places = {".".join(map(str, each["loc"])) or "all of it" for each in error.errors()}
        reason = f"wrong or missing: {', '.join(sorted(places))}"
    except (OSError, orjson.JSONDecodeError) as error:
        reason = str(error)
    raise StageFactsError(
        f"{path} cannot be read ({reason}); bring it back, or remove {folder / RESULT} and run that stage "
        "again with its own plan: it goes on from its last checkpoint and writes both anew"
    )
