"""One refresh in this process, for `bench.refresh`: `python -m bench.refresh_side SOURCE|all FOLDER FOLDER`.

Imports are done before the clock starts; everything else that `medpipe run` does is in it: definitions,
Dagster's instance with its database, events.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import alembic.command
import dagster as dg
import matplotlib.figure
import numba.cpython.charseq
import pandas
import polars
import pyarrow.parquet
import scipy.linalg
import sqlalchemy

import medpipe.curate.corpus
import medpipe.operate.materialise
import medpipe.tokens.shards
import medpipe.tokens.tokenizer
from bench.clock import timed
from medpipe.graph import build_definitions
from medpipe.operate.instance import open_instance
from medpipe.operate.materialise import materialise
from medpipe.refresh.jobs import keys_behind, raw_config
from medpipe.settings import Settings

LOADED = (
    alembic.command,
    matplotlib.figure,
    medpipe.curate.corpus,
    medpipe.tokens.shards,
    numba.cpython.charseq,
    pandas,
    polars,
    pyarrow.parquet,
    scipy.linalg,
    sqlalchemy,
)
"""What Dagster's storage, a compiled kernel or an asset would import by itself."""


def settings_of(folder: Path) -> Settings:
    """Settings of the installation that `bench.refresh` made."""
    return Settings(home=folder / "home", hub=folder / "hub", sources=folder / "sources", plan="demo")


def refresh(settings: Settings, sources: tuple[str, ...]) -> dict[str, Any]:
    """Does what the sensor or the schedule requests for some sources."""
    graph = build_definitions(settings).resolve_asset_graph()
    names = [key.to_user_string() for key in keys_behind(sources, graph)]
    done = materialise(
        settings,
        selection=" or ".join(f'key:"{name}"' for name in names),
        run_config=raw_config(sources, refresh=True),
    )
    return {"assets": len(done.assets), "reused": len(done.reused)}


def steps_of_newest_run(settings: Settings) -> dict[str, Any]:
    """Seconds of each step."""
    with open_instance(settings) as instance:
        (run,) = instance.get_run_records(limit=1)
        stats = instance.get_run_step_stats(run.dagster_run.run_id)
    return {
        "steps": {
            each.step_key: round(each.end_time - each.start_time, 3)
            for each in stats
            if each.end_time and each.start_time
        }
    }


def main() -> None:
    """Runs it under the clock."""
    asked, folder = sys.argv[1], Path(sys.argv[2])
    settings = settings_of(folder)
    hub = sorted(path.name for path in (folder / "hub" / "bench").iterdir())
    sources = tuple(hub) if asked == "all" else (asked,)
    with dg.DagsterInstance.ephemeral():  # imports what an instance imports
        timed(
            lambda: refresh(settings, sources),
            packages=("polars", "numba", "dagster"),
            afterwards=lambda: steps_of_newest_run(settings),
        )


if __name__ == "__main__":
    main()
