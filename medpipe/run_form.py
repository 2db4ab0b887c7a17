"""What a person chooses for one run: the form that the jobs show, as a resource that every step can see.

A click on some assets has the same choices as a job, under `resources`.
"""

from __future__ import annotations

import dagster as dg
from pydantic import Field

ALL_SOURCES = "all"
"""Stands for every enabled source in the form."""


class RunForm(dg.ConfigurableResource[None]):
    """The choices of one run; what is left out stays as the installation is set up."""

    plan: str | None = Field(
        default=None,
        description="Stage plan: a built-in name, or the name of a file in the folder `plans` of "
        "MEDPIPE_HOME. MEDPIPE_PLAN if left out.",
    )
    token_budget: int | None = Field(
        default=None,
        description="Tokens of the whole curriculum: all stages are scaled alike, the run gets a name and "
        "digests of its own. If left out or 0: MEDPIPE_TOKEN_BUDGET if that is set, else as the plan says.",
    )
    start_from: str | None = Field(
        default=None,
        description="Earlier run whose stable checkpoint the plan goes on from with the newest data: the "
        "name of a curriculum, or `name/<folder of its stable stage>`. MEDPIPE_START_FROM if left out.",
    )
    snapshot: str | None = Field(
        default=None,
        description="Corpus snapshot to train on: a day's name such as `2026-11-22`, the beginning of a "
        "digest, or `current` for the newest. The first stage pins it. MEDPIPE_SNAPSHOT if left out.",
    )
    sources: list[str] = Field(
        default=[],
        description="Sources whose newest revision is asked of the hub: ids, or `all`. The others keep the "
        "commit of their last fetch.",
    )
    purpose: str | None = Field(
        default=None,
        description="What the corpus is for, `research` or `commercial`: a source whose licence does not "
        "allow it stops the build. As the corpus assets say if left out.",
    )

    def refreshes(self, source: str) -> bool:
        """Whether the newest revision of a source is asked for."""
        return source in self.sources or ALL_SOURCES in self.sources
