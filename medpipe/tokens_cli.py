"""The commands `medpipe tokens …`: what lies in the shards, whether it is whole, and other layouts of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medpipe.cli_output import AsJson, print_json
from medpipe.settings import Settings
from medpipe.tokens.export import Format

tokens_app = typer.Typer(no_args_is_help=True, help="Tokens and shards.")

_SHOWN_IDS = 40
SnapshotName = Annotated[str, typer.Option("--snapshot", help="Name of a snapshot, or 'current'.")]


@tokens_app.command("inspect")
def inspect_shard(
    shard: Annotated[Path, typer.Argument(metavar="SHARD", help="A .bin file of the lake.")],
    document: Annotated[
        int, typer.Option("--doc", help="Place of the document, 0 first; -1 is the last.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Show a document of a shard: text, ids, and the source, file and row that it came from."""
    from medpipe.lake.layout import open_lake
    from medpipe.tokens.inspect import show_document

    shown = show_document(shard, document, lake=open_lake(Settings()))
    if as_json:
        print_json(asdict(shown))
        return
    console = Console()
    table = Table(show_header=False)
    for name in ("id", "domain", "split", "tier", "lang"):
        table.add_row(name, str(getattr(shown, name)))
    for name, value in shown.provenance.items():
        table.add_row(name, str(value))
    last = shown.offset + len(shown.ids)
    table.add_row("tokens", f"{len(shown.ids):,} ({shown.offset:,} to {last:,} in {Path(shown.shard).name})")
    more = " …" if len(shown.ids) > _SHOWN_IDS else ""
    table.add_row("ids", " ".join(map(str, shown.ids[:_SHOWN_IDS])) + more)
    console.print(table)
    # A terminal wraps by itself; a file or another program gets the text as it is.
    typer.echo(shown.text)


@tokens_app.command("verify")
def verify_shards(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]…", help="Shard data sets; those of the snapshot if none is named."),
    ] = None,
    snapshot: SnapshotName = "current",
    as_json: AsJson = False,
) -> None:
    """Read every byte of shards: checksums, ids, indexes, ends of documents. Damage is exit status 1."""
    from medpipe.lake.layout import open_lake
    from medpipe.tokens.snapshot import read_snapshot
    from medpipe.tokens.verify import require_shards, verify, verify_snapshot

    found: dict[str, list[str]]
    if folders:
        for folder in folders:
            require_shards(folder)
        found = {str(folder): verify(folder) for folder in folders}
    else:
        lake = open_lake(Settings())
        pinned = verify_snapshot(lake, read_snapshot(lake, snapshot))
        found = {str(folder): problems for folder, problems in pinned.items()}
    if as_json:
        print_json([{"folder": name, "problems": problems} for name, problems in found.items()])
    else:
        for name, problems in found.items():
            typer.echo(f"{'damaged' if problems else 'whole'}: {name}")
            for problem in problems:
                typer.echo(f"  {problem}")
    if any(found.values()):
        typer.echo(
            "materialise the damaged shards again with force: medpipe run 'key:\"shards/<domain>\"' --force",
            err=True,
        )
        raise typer.Exit(1)


@tokens_app.command("export")
def export(
    layout: Annotated[Format, typer.Argument(help="The layout.")],
    target: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    snapshot: SnapshotName = "current",
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="Only this domain; may be given again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a snapshot's shards as nanoGPT, Megatron-LM, datatrove, datasets or plain text have them."""
    from medpipe.lake.layout import open_lake
    from medpipe.tokens.export.formats import export_snapshot
    from medpipe.tokens.snapshot import read_snapshot

    lake = open_lake(Settings())
    written = export_snapshot(
        lake,
        read_snapshot(lake, snapshot),
        target,
        layout=layout,
        domains=frozenset(domain) if domain else None,
    )
    unit = "documents" if layout in (Format.TEXT, Format.DATASETS) else "tokens"
    facts: dict[str, Any] = {"folder": str(target), "layout": layout.value, unit: written}
    if as_json:
        print_json(facts)
    else:
        for name, count in written.items():
            typer.echo(f"{target / name}: {count:,} {unit}")
