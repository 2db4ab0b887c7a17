"""The commands `medpipe trace`, `medpipe batch` and `medpipe forget`: what came from where, and out again."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from medpipe.cli_output import AsJson, print_json
from medpipe.settings import Settings

if TYPE_CHECKING:
    from medpipe.lineage.planning import Plan


def _say(line: str) -> None:
    typer.echo(line, err=True)


def trace(
    text: Annotated[str | None, typer.Option("--text", help="A passage, as it was read somewhere.")] = None,
    record_id: Annotated[str | None, typer.Option("--id", help="Id of a record.")] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", help="Name of a snapshot; what is current if unset.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only this run; all runs if unset.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most records that are shown.")] = 10,
    raw: Annotated[bool, typer.Option("--raw", help="Show the published rows, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Where a passage or a record comes from, what became of it, and which checkpoints read it."""
    if (text is None) == (record_id is None):
        raise typer.BadParameter("give a passage with --text or a record's id with --id, and not both")
    from medpipe.catalog.selection import load_catalog
    from medpipe.lake.layout import open_lake
    from medpipe.lineage.render import print_trace
    from medpipe.lineage.trace import TraceOptions
    from medpipe.lineage.trace import trace as find

    settings = Settings()
    found = find(
        open_lake(settings),
        {source.id: source for source in load_catalog(settings).sources},
        text=text,
        record_id=record_id,
        options=TraceOptions(snapshot=snapshot, run=run, limit=limit, raw=raw, progress=_say),
    )
    if as_json:
        print_json(asdict(found))
    else:
        print_trace(found, Console())
    if not found.total and not found.withdrawn:
        raise typer.Exit(1)


def batch(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's folder, or '<curriculum>/<stage>' where that is one."),
    ],
    step: Annotated[int, typer.Option("--step", min=1, help="Counted over the whole curriculum from 1.")],
    as_json: AsJson = False,
) -> None:
    """Which documents were in one optimizer step of a run."""
    from medpipe.lake.layout import open_lake
    from medpipe.lineage.render import print_step
    from medpipe.lineage.step import documents_of_step
    from medpipe.pretrain.seen import find_run, trained_steps

    lake = open_lake(Settings())
    found = find_run(lake, run)
    shown = documents_of_step(lake, found, step, trained_to=trained_steps(found))
    if as_json:
        print_json(asdict(shown))
    else:
        print_step(shown, Console())


def forget(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Ids of records; `medpipe trace` finds them.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="A whole source; may be given again.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the tombstone.")] = "",
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Take near-duplicates along.")
    ] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete raw rows, old data sets and old snapshots for good.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw records or a source: a tombstone, and a new corpus and snapshot without them.

    Exact copies in all sources go along, and what differs in personal data alone. Nothing is changed before
    you confirm. To undo a withdrawal, delete its tombstone and materialise again; what --purge deleted does
    not come back by that.
    """
    if not ids and not source:
        raise typer.BadParameter("name the ids of records, or a source with --source")
    from medpipe.catalog.selection import load_catalog
    from medpipe.lake.layout import open_lake
    from medpipe.lineage.forget import carry_out
    from medpipe.lineage.planning import plan_withdrawal
    from medpipe.lineage.render import print_forgotten, print_plan
    from medpipe.operate.instance import exclusive_home

    settings = Settings()
    sources = {each.id: each for each in load_catalog(settings).sources}
    lake = open_lake(settings)
    with exclusive_home(settings) if lake.root.exists() else nullcontext():
        plan = plan_withdrawal(
            lake,
            ids=ids or (),
            sources=source or (),
            reason=reason,
            near_duplicates=near_duplicates,
            purge=purge,
        )
        print_plan(plan, Console(stderr=True))
        if not yes and not _confirmed():
            _say("nothing was changed; answer y, or give --yes")
            raise typer.Exit(1)
        done = carry_out(plan, lake, sources, _say)
    if as_json:
        print_json({"planned": _plan_facts(plan), **asdict(done)})
    else:
        print_forgotten(done, Console())


def _confirmed() -> bool:
    try:
        return typer.confirm("Withdraw this?", err=True)
    except typer.Abort:  # nobody is there to answer
        return False


def _plan_facts(plan: Plan) -> dict[str, Any]:
    holders = plan.holders
    return {
        "records": [
            asdict(record) | {"named": record.id in plan.named, "why": plan.chosen.why.get(record.id)}
            for record in plan.records
        ],
        "quotes_of_exam_items": [asdict(record) for record in plan.quotes],
        "sources": plan.source_records,
        "copies_elsewhere": plan.copies_elsewhere,
        "near_duplicates": [asdict(record) for record in plan.near_duplicates],
        "holders": None
        if holders is None
        else {
            "datasets": [str(path) for path in holders.datasets],
            "snapshots": [str(path) for path in holders.snapshots],
            "raw": [asdict(rows) for rows in holders.raw],
            "raw_folders": [str(path) for path in holders.raw_folders],
        },
    }
