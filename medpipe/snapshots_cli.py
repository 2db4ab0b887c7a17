"""The commands `medpipe snapshots …`: which corpora there are, and what changed from one to another."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medpipe.cli_output import AsJson, print_json
from medpipe.settings import Settings

snapshots_app = typer.Typer(no_args_is_help=True, help="Corpus snapshots: what a run is trained on.")

_SHORT = 12


@snapshots_app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the corpus snapshots, newest first."""
    from medpipe.lake.layout import open_lake
    from medpipe.tokens.snapshot import list_snapshots, read_snapshot
    from medpipe.tokens.snapshot_names import snapshot_names

    lake = open_lake(Settings())
    current, names = read_snapshot(lake).name, snapshot_names(lake)
    facts: list[dict[str, Any]] = [
        {
            "name": snapshot.name,
            "called": names.get(snapshot.name),
            "stored": stored.isoformat(timespec="seconds"),
            "current": snapshot.name == current,
            "sources": len({ref.source for ref in snapshot.shards}),
            "tokenizer": snapshot.tokenizer.model_dump(),
            "documents": snapshot.documents,
            "revisions": snapshot.revisions,
        }
        for snapshot, stored in list_snapshots(lake)
    ]
    if as_json:
        print_json(facts)
        return
    table = Table("snapshot", "called", "stored (UTC)", "sources", "tokenizer", "")
    for each in facts:
        tokenizer, mark = each["tokenizer"], "current" if each["current"] else ""
        made_with = f"{tokenizer['name']} {tokenizer['digest'][:_SHORT]}"
        table.add_row(
            each["name"][:_SHORT],
            each["called"] or "",
            each["stored"][:19],
            str(each["sources"]),
            made_with,
            mark,
        )
    Console().print(table)


@snapshots_app.command("diff")
def diff(
    before: Annotated[
        str, typer.Argument(help="The earlier snapshot: its day's name, or the beginning of its digest.")
    ],
    after: Annotated[str, typer.Argument(help="The later one.")] = "current",
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a report in Markdown.")] = False,
) -> None:
    """Compare two snapshots: documents in, out and changed, tokens, revisions, licences, by source."""
    from medpipe.lake.layout import open_lake
    from medpipe.tokens.snapshot import read_snapshot
    from medpipe.tokens.snapshot_diff import compare_snapshots
    from medpipe.tokens.snapshot_report import difference_markdown, difference_rows

    lake = open_lake(Settings())
    found = compare_snapshots(read_snapshot(lake, before), read_snapshot(lake, after), lake)
    if as_json:
        print_json(asdict(found))
        return
    if as_markdown:
        typer.echo(difference_markdown(found))
        return
    if found.is_same:
        typer.echo(f"{found.before} and {found.after} hold the same corpus")
        return
    table = Table("source", "added", "removed", "changed", "documents", "tokens", "revision", "licence")
    for row in difference_rows(found):
        table.add_row(*row.values())
    console = Console()
    console.print(table)
    same = sum(source.is_same for source in found.sources)
    if same:
        console.print(f"{same} sources are the same in both", highlight=False)
    if found.tokenizer_changed:
        console.print("the tokenizer is another one: numbers of tokens cannot be compared", highlight=False)
