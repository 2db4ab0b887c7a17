"""The commands `medpipe sources …`: what the catalog knows, and what a person decides about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from medpipe.catalog.selection import State
from medpipe.catalog.source import Source, Use
from medpipe.cli_output import AsJson, print_json
from medpipe.records.kinds import Language
from medpipe.settings import Settings

sources_app = typer.Typer(no_args_is_help=False, help="The catalog of sources.")

SourceId = Annotated[str, typer.Argument(metavar="ID", help="Id or exact title of a source.")]


@sources_app.callback(invoke_without_command=True)
def sources(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only sources in this state.")] = None,
    language: Annotated[Language | None, typer.Option(help="Only sources in this language.")] = None,
    use: Annotated[Use | None, typer.Option(help="Only sources that may be used for this.")] = None,
    match: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only sources that have this text in a name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the catalog: licence, what each source is used for, its size and state."""
    if context.invoked_subcommand is not None:
        return
    from medpipe.catalog.selection import load_catalog
    from medpipe.operate.sources_report import print_sources

    catalog = load_catalog(Settings())
    chosen = catalog.find(state=state, language=language, use=use, text=match)
    if as_json:
        print_json([_facts(source, catalog.states(source)) for source in chosen])
    else:
        print_sources(chosen, catalog, Console())


def _facts(source: Source, states: tuple[State, ...]) -> dict[str, Any]:
    return {
        **source.model_dump(mode="json"),
        "enabled": State.ENABLED in states,
        "state": [str(state) for state in states],
        "warnings": _warnings(source),
    }


def _warnings(source: Source) -> list[str]:
    from medpipe.catalog.principles import use_warnings

    return list(use_warnings(source))


@sources_app.command("show")
def show_source(source_id: SourceId, as_json: AsJson = False) -> None:
    """Show everything the catalog knows of one source."""
    from medpipe.catalog.selection import load_catalog
    from medpipe.operate.sources_report import print_source

    catalog = load_catalog(Settings())
    source = catalog.get(source_id)
    if as_json:
        print_json(_facts(source, catalog.states(source)))
    else:
        print_source(source, catalog.states(source), _warnings(source), Console())


@sources_app.command("search")
def search_sources(
    text: Annotated[str, typer.Argument(help="Text in the name of a data set.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most results.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Ask the hub for data sets, most downloaded first."""
    from medpipe.catalog.selection import load_catalog
    from medpipe.ingest.hub_search import search_hub
    from medpipe.operate.sources_report import found_facts, print_found

    settings = Settings()
    catalog = load_catalog(settings)
    found = search_hub(text, settings=settings, limit=limit, progress=lambda line: typer.echo(line, err=True))
    rows = found_facts(found, catalog)
    if as_json:
        print_json(rows)
    else:
        print_found(rows, text, Console())


@sources_app.command("check")
def check_sources(
    path: Annotated[Path, typer.Argument(help="A catalog file, a dataset_info.json, or a folder of them.")],
    as_json: AsJson = False,
) -> None:
    """Validate catalog files and report every mistake at once, each with its line."""
    from medpipe.catalog.check import check_catalog
    from medpipe.operate.sources_report import check_facts, print_check

    checked = check_catalog(path)
    if as_json:
        print_json(check_facts(checked))
    else:
        print_check(checked, Console())
    if checked.mistakes:
        raise typer.Exit(1)


@sources_app.command("try")
def try_sources(
    path: Annotated[Path, typer.Argument(help="A catalog file, a dataset_info.json, or a folder of them.")],
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="ID", help="Only this entry (id or title); may be given again."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows read of a file.")] = None,
    show: Annotated[int, typer.Option(min=0, help="Print so many first records and rejected rows.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Read local files as a catalog says, without a lake: what is kept, what is rejected and why."""
    from medpipe.catalog.check import entries_of
    from medpipe.normalize.trial import try_source
    from medpipe.operate.trial_report import is_wrong, patient_progress, print_shown, print_trial, trial_facts

    settings, console, tried, names = Settings(), Console(), [], {}
    progress = patient_progress(lambda line: typer.echo(line, err=True))
    for entry in entries_of(path, ids=source or ()):
        names[entry.id] = entry.name
        for each in try_source(entry, settings=settings, max_rows=limit, show=show, progress=progress):
            tried.append(each)
            if not as_json:
                print_shown(each, console, names)
    if as_json:
        print_json([trial_facts(each) for each in tried])
    else:
        print_trial(tried, console, names)
    if any(is_wrong(each) for each in tried):
        raise typer.Exit(1)


@sources_app.command("enable")
def enable_source(
    source_id: SourceId,
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="You accepted its terms.")] = False,
    accept_size: Annotated[bool, typer.Option("--accept-size", help="You have room for it.")] = False,
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="Your own copy of its files.")] = None,
) -> None:
    """Make a source an asset; takes effect when the code location is loaded again."""
    from medpipe.operate.sources_choice import enable

    source = enable(source_id, Settings(), accept_terms=accept_terms, accept_size=accept_size, folder=folder)
    typer.echo(f"{source.id} is enabled")
    for warning in _warnings(source):
        typer.echo(f"note: {warning}", err=True)


@sources_app.command("disable")
def disable_source(source_id: SourceId) -> None:
    """Take a source out of the graph, forget its folder and what you accepted; its data stays in the lake."""
    from medpipe.operate.sources_choice import disable

    source = disable(source_id, Settings())
    typer.echo(f"{source.id} is disabled")


@sources_app.command("held")
def held_sources(as_json: AsJson = False) -> None:
    """List the revisions that wait for a person: what changed, and what is read meanwhile."""
    from medpipe.catalog.selection import load_catalog
    from medpipe.ingest.held import read_held
    from medpipe.lake.layout import open_lake

    settings = Settings()
    lake = open_lake(settings)
    found = [read_held(lake, source.id) for source in load_catalog(settings).sources]
    waiting = [held for held in found if held is not None]
    if as_json:
        print_json([held.model_dump(mode="json") for held in waiting])
    else:
        typer.echo("\n".join(held.message for held in waiting) or "no revision is held back")


@sources_app.command("accept")
def accept_source(
    source_id: SourceId,
    revision: Annotated[
        str | None, typer.Option(help="The commit that you mean, even before it is fetched.")
    ] = None,
) -> None:
    """Accept a revision that was held back; the next refresh makes the corpus of it."""
    import getpass

    from medpipe.catalog.selection import load_catalog
    from medpipe.ingest.held import accept
    from medpipe.lake.layout import open_lake

    settings = Settings()
    source = load_catalog(settings).get(source_id)
    taken = accept(source, open_lake(settings), by=f"{getpass.getuser()}, by command", revision=revision)
    if taken is None:
        raise typer.BadParameter(
            f"no revision of {source.id} is held back; `medpipe sources held` lists them"
        )
    typer.echo(f"{taken} of {source.id} is accepted; the sensor, or a refresh, makes the corpus of it")
