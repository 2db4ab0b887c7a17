"""Materialising assets in this process, on the same instance that the UI shows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from medpipe.asset_metadata import REUSED
from medpipe.automation import FULL, ON_REQUEST
from medpipe.console import asset_name, failure_reason, writing_to_this_terminal
from medpipe.graph import build_definitions
from medpipe.operate.instance import exclusive_home, open_instance
from medpipe.operate.run_launcher import process_tags
from medpipe.settings import Settings


class SelectionError(ValueError):
    """A selection that names no asset; the message lists what there is."""


class RunFailedError(ValueError):
    """A step failed; the message names the step, the reason and what to do."""


@dataclass(frozen=True)
class MaterialisedRun:
    """What a run did."""

    run_id: str
    assets: tuple[str, ...]
    """Materialised assets in the order they were made."""
    reused: tuple[str, ...]
    """Those whose data was up to date."""


def select_assets(definitions: dg.Definitions, selection: str) -> list[dg.AssetKey]:
    """The assets that a Dagster selection string names.

    Raises:
        SelectionError: the string cannot be parsed, or names nothing.
    """
    graph = definitions.resolve_asset_graph()
    everything = sorted(key.to_user_string() for key in graph.materializable_asset_keys)
    try:
        keys = dg.AssetSelection.from_string(selection).resolve(graph)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise SelectionError(
            f"cannot read the selection {selection!r}: {reason}; examples: 'key:\"pretrain/converge\"', "
            "'group:normalized', '+key:\"corpus/documents\"'"
        ) from error
    chosen = sorted(keys & graph.materializable_asset_keys)
    if not chosen:
        raise SelectionError(f"{selection!r} selects no asset; there are: {', '.join(everything)}")
    return chosen


def forced(definitions: dg.Definitions, keys: Sequence[dg.AssetKey]) -> dict[str, Any]:
    """The run configuration that sets `force` for those assets that have it.

    Raises:
        SelectionError: none of them has.
    """
    graph = definitions.resolve_asset_graph()
    steps = [graph.get(key).assets_def.node_def for key in keys]
    ops = {
        step.name: {"config": {"force": True}}
        for step in steps
        if step.config_field and "force" in getattr(step.config_field.config_type, "fields", {})
    }
    if not ops:
        names = ", ".join(key.to_user_string() for key in keys)
        raise SelectionError(f"none of the selected assets can be forced ({names}); leave --force out")
    return {"ops": ops}


def materialise(
    settings: Settings,
    *,
    selection: str = "*",
    run_config: Mapping[str, Any] | None = None,
    force: bool = False,
) -> MaterialisedRun:
    """Materialises the selected assets one after the other, with progress on the standard error stream.

    Args:
        settings: where everything lies.
        selection: a Dagster asset selection.
        run_config: Dagster's run configuration; with `force` it must not configure assets.
        force: make selected data sets again even where nothing changed.

    Raises:
        HomeInUseError: another `medpipe run` or `medpipe demo` works on the same home.
        SelectionError: nothing is selected, or nothing of it can be forced.
        RunFailedError: a step failed.
    """
    warnings.simplefilter("ignore", dg.BetaWarning)
    warnings.simplefilter("ignore", dg.PreviewWarning)
    definitions = build_definitions(settings)
    keys = select_assets(definitions, selection)
    config = forced(definitions, keys) if force else {}
    job = definitions.resolve_job_def(FULL)
    # A selection of assets alone would bring the checks back that the job leaves to those who ask for them.
    nodes = job.asset_layer.asset_graph.asset_check_keys
    checks = {check for check in nodes if check.asset_key in keys and check not in ON_REQUEST}
    job = job.get_subset(asset_selection=set(keys), asset_check_selection=checks)
    with exclusive_home(settings), open_instance(settings) as instance, writing_to_this_terminal():
        result = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {}}, **(run_config or {}), **config},
            tags=process_tags(),
            raise_on_error=False,
        )
    if not result.success:
        raise RunFailedError(_failure(result))
    events = result.get_asset_materialization_events()
    made = [_reuse(event) for event in events]
    return MaterialisedRun(
        run_id=result.run_id,
        assets=tuple(name for name, _ in made),
        reused=tuple(name for name, reused in made if reused),
    )


def _reuse(event: dg.DagsterEvent) -> tuple[str, bool]:
    materialization = event.step_materialization_data.materialization
    reused = materialization.metadata.get(REUSED)
    return materialization.asset_key.to_user_string(), bool(reused is not None and reused.value)


def _failure(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            return f"{asset_name(event.step_key or '')} failed: {failure_reason(event)}"
    return f"run {result.run_id} failed before its first step; open it in the Dagster UI"
