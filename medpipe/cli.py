"""The command `medpipe`: each subcommand is a few lines that call a room.

Exit status: 0 is success, 2 a usage error, 1 everything else with one line that names the fix.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from medpipe.settings import Settings

app = typer.Typer(
    name="medpipe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From medical corpora to a model.",
)
sources_app = typer.Typer(no_args_is_help=False, help="The catalog of sources.")
plan_app = typer.Typer(no_args_is_help=True, help="Stage plans.")
app.add_typer(sources_app, name="sources")
app.add_typer(plan_app, name="plan")

AsJson = Annotated[bool, typer.Option("--json", help="Print the same facts as JSON.")]

P = ParamSpec("P")
R = TypeVar("R")


def _in_words(error: ValueError | OSError) -> str:
    """The error's own message; an error of the operating system with the file it is about and the fix."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.filename is None:
        return error.strerror
    fix = "check the path, its permissions, and MEDPIPE_HOME or MEDPIPE_LAKE where it lies under them"
    return f"{error.filename}: {error.strerror}; {fix}"


def _plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Prints an error that names the thing and the fix, not a traceback; MEDPIPE_DEBUG shows that too."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            if os.environ.get("MEDPIPE_DEBUG"):
                raise
            typer.echo(f"medpipe: {_in_words(error)}", err=True)
            raise typer.Exit(1) from error

    return wrapper


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


@app.command()
@_plain_errors
def demo(as_json: AsJson = False) -> None:
    """Run the main job on the sample corpus that ships in the package."""
    from dataclasses import asdict

    from medpipe.operate.demo import DEMO_FACTS, run_demo
    from medpipe.operate.report import print_demo

    settings = Settings()
    typer.echo(f"medpipe demo: every asset of the graph, state in {settings.home}", err=True)
    facts = run_demo(settings)
    if as_json:
        _print_json(asdict(facts))
    else:
        print_demo(facts, Console())
        typer.echo(f"The same facts are in {settings.home / DEMO_FACTS}")


@app.command()
@_plain_errors
def run(
    selection: Annotated[str, typer.Argument(help="Dagster asset selection, such as 'group:normalized'.")],
    as_json: AsJson = False,
) -> None:
    """Materialise the selected assets on the instance that the UI shows."""
    from medpipe.operate.materialise import materialise

    done = materialise(Settings(), selection=selection)
    if as_json:
        _print_json({"run": done.run_id, "assets": done.assets, "reused": done.reused})
    else:
        typer.echo(f"{len(done.assets)} assets materialised, {len(done.reused)} of them were up to date")


@app.command()
@_plain_errors
def dev(
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
    sample: Annotated[bool, typer.Option(help="Work on the sample corpus instead of the hub.")] = False,
) -> None:
    """Start the Dagster UI and the MLflow UI on loopback, until Ctrl-C."""
    from medpipe.operate.servers import running_servers

    # A shell starts background jobs with SIGINT ignored, and the servers would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    settings = Settings()
    if sample:
        from medpipe.operate.demo import DEMO_PLAN, sample_hub
        from medpipe.sample.generate import generate

        hub = sample_hub(settings)
        generate(hub)
        os.environ |= {"MEDPIPE_HUB": hub.as_posix(), "MEDPIPE_PLAN": DEMO_PLAN}
    try:
        with running_servers(settings, dagster_port=dagster_port, mlflow_port=mlflow_port) as servers:
            for server in servers:
                typer.echo(f"{server.name:8} {server.url}")
            typer.echo("Ctrl-C stops both.")
            # Polars' SIGINT handler restarts system calls: Ctrl-C would not end a blocking wait.
            while all(server.process.poll() is None for server in servers):
                time.sleep(0.5)
    except KeyboardInterrupt:
        typer.echo("stopped")


@sources_app.callback(invoke_without_command=True)
@_plain_errors
def sources(context: typer.Context, as_json: AsJson = False) -> None:
    """List the catalog with licence, use and state."""
    if context.invoked_subcommand is not None:
        return
    from medpipe.catalog.selection import load_catalog

    catalog = load_catalog(Settings())
    enabled = {source.id for source in catalog.enabled}
    if as_json:
        _print_json(
            [
                {**source.model_dump(mode="json"), "enabled": source.id in enabled}
                for source in catalog.sources
            ]
        )
        return
    table = Table()
    table.add_column("source", no_wrap=True)
    for column in ("domain", "licence", "used for", "state"):
        table.add_column(column, overflow="fold")
    for source in catalog.sources:
        state = "enabled" if source.id in enabled else source.status
        table.add_row(
            source.id,
            ", ".join(source.domains),
            source.licence.name or "not stated",
            ", ".join(source.uses),
            f"{state}, gated" if source.gated else state,
        )
    Console().print(table)


@sources_app.command("show")
@_plain_errors
def show_source(source_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show everything the catalog knows of one source."""
    from medpipe.catalog.selection import load_catalog

    _print_json(load_catalog(Settings()).get(source_id).model_dump(mode="json"))


@sources_app.command("check")
@_plain_errors
def check_sources(path: Annotated[Path, typer.Argument(help="A catalog file or a folder of them.")]) -> None:
    """Validate catalog files and report every mistake at once."""
    from medpipe.catalog.load import read_catalog_files, read_catalog_folder

    found = read_catalog_folder(path) if path.is_dir() else read_catalog_files([path])
    typer.echo(f"{len(found)} entries, no mistake: {', '.join(source.id for source in found)}")


@sources_app.command("enable")
@_plain_errors
def enable_source(
    source_id: Annotated[str, typer.Argument(metavar="ID")],
    accept_terms: Annotated[bool, typer.Option(help="You accepted the publisher's terms.")] = False,
    accept_size: Annotated[bool, typer.Option(help="You have room for it.")] = False,
) -> None:
    """Make a source an asset; takes effect when the code location is loaded again."""
    from medpipe.catalog.selection import Choice, load_catalog, store_choice, why_not_fetched

    settings = Settings()
    load_catalog(settings).get(source_id)
    choice = Choice(enabled=True, accept_terms=accept_terms or None, accept_size=accept_size or None)
    store_choice(settings.home, source_id, choice)
    hindrance = why_not_fetched(load_catalog(settings).get(source_id))
    typer.echo(hindrance or f"{source_id} is enabled")


@sources_app.command("disable")
@_plain_errors
def disable_source(source_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Take a source out of the graph; its data stays in the lake."""
    from medpipe.catalog.selection import Choice, load_catalog, store_choice

    settings = Settings()
    load_catalog(settings).get(source_id)
    store_choice(settings.home, source_id, Choice(enabled=False))
    typer.echo(f"{source_id} is disabled")


@plan_app.command("check")
@_plain_errors
def check_plan(
    plan: Annotated[str, typer.Argument(help="Name of a built-in plan or path of a YAML file.")],
    as_json: AsJson = False,
) -> None:
    """Compile a plan against the current corpus snapshot before any compute."""
    from medpipe.lake.layout import Lake
    from medpipe.pretrain.compile import compile_plan
    from medpipe.pretrain.plan import load_plan
    from medpipe.tokens.snapshot import read_snapshot

    lake = Lake(Settings().lake)
    compiled = compile_plan(load_plan(plan), read_snapshot(lake), lake)
    rows: list[dict[str, Any]] = [
        {
            "stage": stage.name,
            "steps": stage.steps,
            "from": part.label,
            "samples": part.samples,
            "epochs": part.epochs,
        }
        for stage in compiled.stages
        for part in stage.components
    ]
    if as_json:
        _print_json(rows)
        return
    table = Table("stage", "steps", "from", "samples", "epochs")
    for row in rows:
        table.add_row(
            row["stage"], f"{row['steps']:,}", row["from"], f"{row['samples']:,}", f"{row['epochs']:.2f}"
        )
    Console().print(table)


def main() -> None:
    """Entry point of `python -m medpipe.cli`."""
    app()


if __name__ == "__main__":
    main()
