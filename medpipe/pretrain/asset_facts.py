"""What the asset of a stage shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from medpipe.asset_metadata import facts_table, tag_value
from medpipe.pretrain.plan import Plan, StagePlan
from medpipe.settings import Settings
from medpipe.tracking.links import compare_url, run_url

if TYPE_CHECKING:
    from medpipe.pretrain.curriculum import FinishedStage
    from medpipe.pretrain.tracked import TrackedStage
    from medpipe.records.kinds import Domain
    from medpipe.tracking.replay import SpoolReplay


def links(settings: Settings, replay: SpoolReplay) -> dict[str, Any]:
    """Where MLflow shows the stage, or why it cannot be reached."""
    if replay.runs is None:
        return {"mlflow": f"not reached: {replay.last_error}"}
    runs = replay.runs
    return {
        "mlflow run": dg.MetadataValue.url(run_url(settings, runs.experiment_id, runs.stage_run_id)),
        "mlflow curriculum": dg.MetadataValue.url(run_url(settings, runs.experiment_id, runs.parent_run_id)),
        "mlflow comparison": dg.MetadataValue.url(compare_url(settings, runs.experiment_id)),
    }


def metadata(finished: FinishedStage) -> dict[str, Any]:
    """What a finished stage came to."""
    result = finished.result
    bits = [{"domain": domain, "bits per byte": value} for domain, value in result.bits_per_byte.items()]
    seen = [{"source": source, "tokens": tokens} for source, tokens in result.tokens_by_source.items()]
    return {
        "dagster/uri": finished.checkpoint.as_posix(),
        "steps": result.steps,
        "tokens": result.tokens,
        "loss at start": result.loss_first,
        "loss at end": result.loss_last,
        "bits per byte": result.bits_per_byte["all"],
        "bits per byte by domain": facts_table(bits),
        "tokens by source": facts_table(seen),
        "training seconds": result.seconds,
        "parameters": result.parameters,
        "device": f"{result.device}, {result.precision}, {result.threads} threads",
        **({"sample": dg.MetadataValue.md(result.sample)} if result.sample else {}),
    }


def origin(tracked: TrackedStage) -> dict[str, Any]:
    """The earlier run that a stage was taken over from or goes on from; nothing for other stages."""
    compiled, start = tracked.compiled, tracked.compiled.start
    corpus = {"corpus snapshot": compiled.snapshot}
    taken_from = compiled.stage(tracked.stage).taken_from
    if taken_from is not None:
        return {"taken over from": taken_from}
    if start is None or start.at != tracked.stage or start.run is None:
        return corpus
    facts = {
        "run": start.run,
        "checkpoint": start.folder.name,
        "digest": start.content,
        "learning rate": start.rate,
        "its corpus snapshot": start.snapshot,
    }
    return {"goes on from": facts_table([facts]), **corpus}


def stage_tags(plan: Plan, stage: StagePlan, tags: Mapping[str, str]) -> dict[str, str]:
    """Plan and stage, the domains that it reads, and the languages and licences of the corpus."""
    domains = {f"domain/{domain}": "" for domain in sorted(domain.value for domain in _domains(plan, stage))}
    brought = {tag: value for tag, value in tags.items() if not tag.startswith("domain/")}
    return {"plan": tag_value(plan.name), "stage": stage.name, **domains, **brought}


def _domains(plan: Plan, stage: StagePlan) -> set[Domain]:
    """The domains that a stage reads, those of a stage that it replays included."""
    found = {entry.domain for entry in stage.mixture if entry.domain is not None}
    for entry in stage.mixture:
        if entry.replay is not None:
            found |= _domains(plan, plan.stage(entry.replay))
    return found
