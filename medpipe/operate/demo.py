"""The main job on the corpus that ships in the package, and a table of what came out."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medpipe.catalog.selection import load_catalog
from medpipe.lake.dataset import current
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import open_lake
from medpipe.operate.materialise import materialise
from medpipe.pretrain.configured import configured_plan
from medpipe.pretrain.curriculum import (
    FinishedStage,
    compile_as_pinned,
    curriculum_digest,
    finished_stages,
)
from medpipe.sample.generate import generate
from medpipe.settings import Settings
from medpipe.tokens.snapshot import read_snapshot
from medpipe.tracking.links import compare_url, dagster_run_url, run_url
from medpipe.tracking.runs import find_curriculum

DEMO_PLAN = "demo"
DEMO_FACTS = "demo.json"
VALIDATION_SHARE = 0.05
"""The sample is small: with the usual share a domain would be measured on a handful of documents."""


@dataclass(frozen=True)
class DemoFacts:
    """What the demo found, in the shape of `demo.json`."""

    sources: list[dict[str, Any]]
    tokens: dict[str, int]
    stages: list[dict[str, Any]]
    mlflow_run: str | None
    """Id of the curriculum's run; None where MLflow could not be reached."""
    sample: str
    seconds: float
    reused: list[str]
    links: dict[str, str]


def sample_hub(settings: Settings) -> Path:
    """Folder that the sample is written to."""
    return settings.home / "sample"


def demo_settings(settings: Settings) -> Settings:
    """The settings with the sample as the hub and the demo plan; all else as the person set it."""
    return settings.model_copy(update={"hub": sample_hub(settings), "sources": None, "plan": DEMO_PLAN})


def run_demo(settings: Settings) -> DemoFacts:
    """Writes the sample, materialises every asset, and leaves the facts in `<home>/demo.json`.

    Raises:
        HomeInUseError: another run works on the same home.
        RunFailedError: a step failed.
    """
    started = time.monotonic()
    settings = demo_settings(settings)
    generate(sample_hub(settings))
    corpus_config = {"config": {"validation_share": VALIDATION_SHARE}}
    run = materialise(
        settings,
        run_config={
            "ops": {f"corpus__{n}": corpus_config for n in ("documents", "conversations", "preferences")}
        },
    )
    facts = _collect(settings, run_id=run.run_id, reused=list(run.reused), seconds=time.monotonic() - started)
    write_json_atomically(settings.home / DEMO_FACTS, asdict(facts))
    return facts


def _collect(settings: Settings, *, run_id: str, reused: list[str], seconds: float) -> DemoFacts:
    lake = open_lake(settings)
    sources = []
    for source in load_catalog(settings).enabled:
        facts = current(lake, "normalized", source.id).manifest.facts
        sources.append(
            {
                "source": source.id,
                "rows": facts["published"],
                "kept": facts["kept"],
                "rejected": facts["rejected"],
            }
        )
    snapshot = read_snapshot(lake)
    tokens: Counter[str] = Counter()
    for shard in snapshot.shards:
        dataset = current(lake, "shards", shard.domain, shard.source)
        tokens[shard.domain] += sum(entry["tokens"] for entry in dataset.manifest.facts["shards"])
    plan = configured_plan(settings)
    stages = finished_stages(plan, lake)
    compiled = compile_as_pinned(plan, lake)
    runs = find_curriculum(settings, curriculum_digest(compiled))
    return DemoFacts(
        sources=sources,
        tokens=dict(tokens),
        stages=[_stage_facts(stage) for stage in stages],
        mlflow_run=runs.parent_run_id if runs else None,
        sample=stages[-1].result.sample or "",
        seconds=round(seconds, 1),
        reused=reused,
        links={
            "state": settings.home.as_posix(),
            "dagster run": dagster_run_url(settings, run_id),
            **({"mlflow run": run_url(settings, runs.experiment_id, runs.parent_run_id)} if runs else {}),
            **({"mlflow comparison": compare_url(settings, runs.experiment_id)} if runs else {}),
        },
    )


def _stage_facts(stage: FinishedStage) -> dict[str, Any]:
    result = stage.result
    return {
        "name": result.stage,
        "steps": result.steps,
        "tokens": result.tokens,
        "loss_first": result.loss_first,
        "loss_last": result.loss_last,
        "bits_per_byte": result.bits_per_byte,
        "checkpoint": stage.checkpoint.as_posix(),
    }
