"""The commands that look after a running platform: `medpipe doctor`, `medpipe prune`, `medpipe serve`."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from medpipe.cli_output import AsJson, print_json
from medpipe.settings import Settings

DagsterPort = Annotated[
    int, typer.Option("--dagster-port", min=1, max=65_535, help="Port of the Dagster UI, on loopback.")
]
MlflowPort = Annotated[
    int, typer.Option("--mlflow-port", min=1, max=65_535, help="Port of the MLflow UI, on loopback.")
]


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what nobody alive works on.")] = False,
    read_all: Annotated[
        bool, typer.Option("--read-all", help="Compare the checksum of every file of the lake; reads it all.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find what crashes left behind, and mend it if asked to. Status 1 where something is left to do."""
    from medpipe.operate.doctor.examine import examine

    found = examine(Settings(), repair=repair, read_all=read_all)
    if as_json:
        names = ("kind", "thing", "problem", "fix", "outcome", "note")
        facts = [
            {name: getattr(each, name) for name in names} | {"repairable": each.repair is not None}
            for each in found
        ]
        print_json(facts)
    elif not found:
        typer.echo("nothing found: no orphan, no stuck run, no half-written data set")
    else:
        table = Table("what", "name", "found", "repair" if not repair else "outcome", box=box.SIMPLE_HEAD)
        for each in found:
            last = each.fix if each.outcome == "found" else f"{each.outcome} ({each.note or each.fix})"
            table.add_row(each.kind, each.thing, each.problem, last)
        Console().print(table)
        mendable = sum(each.repair is not None and each.outcome == "found" for each in found)
        if mendable:
            typer.echo(f"{mendable} of {len(found)} are mended by `medpipe doctor --repair`")
    if any(each.is_open for each in found):
        raise typer.Exit(1)


def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Delete it; without, only say what would go.")] = False,
    snapshots: Annotated[int | None, typer.Option(min=1, help="Keep the newest so many snapshots.")] = None,
    checkpoints: Annotated[
        int | None, typer.Option(min=1, help="Keep the newest so many checkpoints of each finished run.")
    ] = None,
    event_days: Annotated[int | None, typer.Option(min=1, help="Keep events of so many days.")] = None,
    idle_hours: Annotated[
        float | None, typer.Option(min=0, help="Keep data sets that were replaced within so many hours.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete old event logs, checkpoints, snapshots and data sets that no snapshot, run or model needs."""
    from medpipe.operate.instance import open_instance
    from medpipe.operate.prune.doomed import Limits
    from medpipe.operate.prune.events import old_runs, unfinished_configs
    from medpipe.operate.prune.plan import plan_lake
    from medpipe.tracking.store import TrackingError

    settings = Settings()
    limits = Limits(
        snapshots=snapshots or settings.keep_snapshots,
        checkpoints=checkpoints or settings.keep_checkpoints,
        event_days=event_days or settings.keep_event_days,
        idle_hours=settings.keep_idle_hours if idle_hours is None else idle_hours,
    )
    with open_instance(settings) as instance:
        plan = plan_lake(settings, limits, run_configs=unfinished_configs(instance))
        doomed = [*plan.doomed, *old_runs(instance, settings.dagster_home, limits)]
        refused, outcomes = list(plan.refused), []
        for each in doomed:
            outcome = "would go"
            if yes:
                try:
                    outcome = "deleted" if each.remove() else "kept"
                except TrackingError as error:
                    outcome = "kept"
                    refused.append(f"{each.kind} {each.name} stays: {error}")
            outcomes.append(outcome)
    if as_json:
        facts = [
            {"kind": each.kind, "name": each.name, "why": each.why, "bytes": each.bytes, "outcome": outcome}
            for each, outcome in zip(doomed, outcomes, strict=True)
        ]
        print_json({"found": facts, "refused": refused, "bytes": sum(each.bytes for each in doomed)})
    else:
        table = Table("what", "name", "MB", "why", "", box=box.SIMPLE_HEAD)
        for each, outcome in zip(doomed, outcomes, strict=True):
            table.add_row(each.kind, each.name, f"{each.bytes / 1e6:.1f}", each.why, outcome)
        Console().print(table)
        said = "" if yes else "; `medpipe prune --yes` deletes it"
        typer.echo(f"{len(doomed)} things, {sum(each.bytes for each in doomed) / 1e6:.1f} MB{said}")
        for reason in refused:
            typer.echo(reason, err=True)
    if refused:
        raise typer.Exit(1)


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; --no-password is for loopback only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port that people come in by.")] = 8080,
    public_url: Annotated[
        str | None, typer.Option(help="What people type, where it is not http://<host>:<port>.")
    ] = None,
    tls: Annotated[
        str, typer.Option(help="off, internal (Caddy's own authority) or auto (Let's Encrypt; public name).")
    ] = "off",
    dagster_port: DagsterPort = 3000,
    mlflow_port: MlflowPort = 5000,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Ask nobody: a gateway before it logs people in.")
    ] = False,
) -> None:
    """Start everything behind one reverse proxy with a password (MEDPIPE_SERVE_PASSWORD), until Ctrl-C."""
    from medpipe.operate.dev import serve_until_stopped
    from medpipe.operate.proxy import Door, check_door, find_caddy, places_behind, proxy_server
    from medpipe.operate.servers import LOOPBACK, is_own_store, require_free

    settings = Settings()
    # Neither the servers nor what they start has any use for it.
    os.environ.pop("MEDPIPE_SERVE_PASSWORD", None)
    door = Door(
        host=host,
        port=port,
        public_url=public_url,
        tls=tls,
        user=settings.serve_user,
        password=settings.serve_password,
        asks_nobody=no_password,
    )
    check_door(door)
    caddy = find_caddy()
    require_free(port, "--port", host=LOOPBACK if door.is_loopback else host)
    places = places_behind(door, dagster_port=dagster_port, mlflow_port=mlflow_port)
    state, has_mlflow = settings.home / "proxy", is_own_store(settings)
    mlflow_url = f"{door.url}{places.mlflow_prefix}" if has_mlflow else settings.mlflow_ui_url
    if not door.is_loopback and not door.url.startswith("https"):
        typer.echo(
            "medpipe: the password goes over the network as it is; use --tls, or TLS of your own", err=True
        )
    serve_until_stopped(
        settings,
        places,
        more=lambda folder: [
            proxy_server(door, places, folder=folder, state=state, caddy=caddy, has_mlflow=has_mlflow)
        ],
        urls=[f"{door.url}{places.dagster_prefix}", mlflow_url],
    )
