"""Traces, steps and withdrawals as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from medpipe.lineage.exposure import Exposure
from medpipe.lineage.forget import Forgotten
from medpipe.lineage.planning import Plan
from medpipe.lineage.search import Record
from medpipe.lineage.step import Step
from medpipe.lineage.trace import Trace, TracedRecord

SHOWN = 20
"""Most lines of a list; `--json` has all of them."""
_STEPS = 12


def print_trace(trace: Trace, console: Console) -> None:
    """A table a record, and what is missing behind them."""
    for traced in trace.records:
        console.print(_record_table(traced))
        console.print(Text(traced.record.head))
        if traced.raw is not None:
            console.print(Text(f"\nraw row:\n{traced.raw}"))
        console.print()
    more = trace.total - len(trace.records)
    if more > 0:
        console.print(f"{trace.total:,} records in all; {more:,} more are not shown (--limit)")
    if not trace.records and not trace.withdrawn:
        console.print("no record holds the passage")
    for each in trace.withdrawn:
        console.print(
            Text(f"withdrawn {each.created} ({each.reason or 'no reason given'}): {each.tombstone}")
        )
    for note in trace.notes:
        console.print(Text(f"note: {note}"))


def _record_table(traced: TracedRecord) -> Table:
    record = traced.record
    table = Table(show_header=False)

    def add(name: str, value: object) -> None:
        table.add_row(name, Text(str(value)))

    add("source", record.source if traced.title == record.source else f"{record.source} ({traced.title})")
    for name in ("revision", "path", "row", "part", "id", "content_key", "kind", "lang"):
        add(name.replace("_", " "), getattr(record, name))
    add("published as", f"{record.split}, {record.domain}")
    if record.how is not None:
        add("match", record.how)
    for gone in traced.withdrawn:
        add("withdrawn", f"{gone.created}: {gone.reason or 'no reason given'} ({gone.tombstone})")
    for each in traced.corpus:
        if each.state == "kept":
            said = ", ".join(filter(None, (each.split, each.tier, each.domain)))
        else:
            said = " ".join(filter(None, (each.reason, each.detail)))
        add(f"corpus/{each.purpose}", f"{each.state}: {said}" if said else each.state)
        if each.stayed:
            add("stayed", " → ".join(each.stayed))
    if traced.copies:
        add("exact copies", _listed(_places(traced.copies)))
    if traced.alike:
        add("the same but for personal data", _listed(_places(traced.alike)))
    for place in traced.places:
        add(
            "shard",
            f"{place.shard} ({place.split}, {place.tier}), document {place.document:,}, "
            f"tokens {place.offset:,} to {place.offset + place.length:,}",
        )
        if place.extent == "passage":
            add("passage", f"tokens {place.start:,} to {place.stop:,}")
    for run in traced.runs:
        add(f"run {run.run}", exposure_words(run))
    if not traced.runs:
        add("runs", "none has read it")
    return table


def _places(records: Sequence[Record]) -> list[str]:
    return [f"{each.source} {each.path}:{each.row}" for each in records]


def exposure_words(run: Exposure) -> str:
    """What a run read, in a few lines."""
    if run.unknown is not None:
        return f"cannot be said: {run.unknown}"
    lines = []
    taken = [step for step in run.steps if step <= run.trained_to]
    if run.steps:
        steps = ", ".join(f"{step:,}" for step in run.steps[:_STEPS])
        more = f" and {len(run.steps) - _STEPS:,} more" if len(run.steps) > _STEPS else ""
        lines.append(f"in {_counted(len(run.steps), 'step')}: {steps}{more}")
        if len(taken) < len(run.steps):
            lines.append(f"trained to step {run.trained_to:,}: {len(taken):,} of them are done")
    if run.goes_on_from:
        lines.append(f"all of its checkpoints, since it went on from {', '.join(run.goes_on_from)}")
    if run.checkpoints:
        lines.append(f"checkpoints on the disk that have: {', '.join(map(str, run.checkpoints))}")
    elif taken:
        lines.append(f"every checkpoint from step {taken[0]:,} on; none of these is on the disk")
    return "\n".join(lines)


def print_step(step: Step, console: Console) -> None:
    """A table of the documents of a step."""
    state = "" if step.taken else "; no checkpoint says that it was taken"
    console.print(
        Text(
            f"{step.run}, step {step.step:,}: {step.samples:,} windows from sample {step.first_sample:,} on, "
            f"{step.tokens:,} tokens{state}"
        )
    )
    table = Table("sample", "source", "path", "row", _id_column(), "tokens of the document", "text")
    for each in step.documents:
        first, stop = each.of_document
        table.add_row(
            f"{each.sample:,}",
            each.source,
            Text(each.path or "?"),
            "?" if each.row is None else f"{each.row:,}",
            each.id,
            f"{first:,} to {stop:,} of {each.document_tokens:,}",
            Text(each.head[:60].replace("\n", " ")),
        )
    console.print(table)


def print_plan(plan: Plan, console: Console) -> None:
    """What will go, before anybody confirms it."""
    if plan.records:
        table = Table(
            "source",
            "path",
            "row",
            _id_column(),
            "text",
            title=f"to withdraw: {_counted(len(plan.records), 'record')}",
        )
        for record in plan.records[:SHOWN]:
            kind = f"\n({plan.chosen.why[record.id]})" if record.id in plan.chosen.why else ""
            table.add_row(
                record.source, Text(record.path), f"{record.row:,}", f"{record.id}{kind}", _head(record)
            )
        console.print(table)
        _more(len(plan.records), console)
    elif plan.chosen.all:
        console.print(
            f"{len(plan.chosen.all):,} records were withdrawn before; what is left to do is done now"
        )
    for source, count in plan.source_records.items():
        console.print(f"the whole source {source} goes: {count:,} records")
    if plan.copies_elsewhere:
        console.print(
            f"{plan.copies_elsewhere:,} records of other sources have the same content; these stay, and what "
            "was left out as a copy of a withdrawn record comes in"
        )
    if plan.near_duplicates:
        table = Table("source", "path", "row", _id_column(), "text", title="near-duplicates, which stay")
        for record in plan.near_duplicates[:SHOWN]:
            table.add_row(record.source, Text(record.path), f"{record.row:,}", record.id, _head(record))
        console.print(table)
        _more(len(plan.near_duplicates), console)
        console.print("--near-duplicates takes them along")
    if plan.quotes:
        places = _listed([f"{each.source} {each.path}:{each.row} ({each.id})" for each in plan.quotes])
        console.print(
            Text(
                f"{_counted(len(plan.quotes), 'record')} left out for repeating an exam item that goes; "
                f"nothing keeps them out then, so withdraw by id what is to stay out: {places}"
            )
        )
    for run in plan.runs:
        console.print(Text(f"{run.run}: {exposure_words(run)}"))
    if plan.holders is not None:
        _print_purge(plan, console)


def _print_purge(plan: Plan, console: Console) -> None:
    holders = plan.holders
    if holders is None:
        return
    console.print("--purge deletes for good:")
    lines = [str(path) for path in (*holders.datasets, *holders.snapshots, *holders.raw_folders)]
    lines += [
        f"{_counted(len(each.rows), 'row')} of raw/{each.source}/{each.revision}/{each.path}"
        for each in holders.raw
    ]
    for line in lines[:SHOWN]:
        console.print(Text(f"  {line}"))
    _more(len(lines), console)
    for name in plan.stranded:
        console.print(Text(f"  {name} can no longer be resumed exactly: its snapshot goes"))


def print_forgotten(done: Forgotten, console: Console) -> None:
    """What was done."""
    console.print(Text(f"tombstone: {done.tombstone}"))
    console.print(f"snapshot: {done.old_snapshot or 'none'} → {done.new_snapshot or 'none'}")
    for name, files in done.shards.items():
        rewritten = [file for file, state in files.items() if state == "rewritten"]
        linked = len(files) - len(rewritten)
        console.print(Text(f"shards/{name}: rewritten {_listed(rewritten) or 'none'}; linked {linked}"))
    for run in done.runs:
        console.print(Text(f"{run.run}: {exposure_words(run)}"))
    if not done.runs:
        console.print("no run has read it")
    for path in done.blanked:
        console.print(Text(f"rows taken out of {path}"))
    if done.deleted:
        console.print(f"{len(done.deleted):,} data sets, snapshots and folders are deleted")
    for name in done.stranded:
        console.print(Text(f"{name} can no longer be resumed exactly"))
    for note in done.notes:
        console.print(Text(f"note: {note}"))


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _id_column() -> Column:
    """Never cut: an id is what the next command is given."""
    return Column("id", min_width=32, no_wrap=True)


def _head(record: Record) -> Text:
    return Text(record.head[:40].replace("\n", " "))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _more(count: int, console: Console) -> None:
    if count > SHOWN:
        console.print(f"and {count - SHOWN:,} more (--json has all)")
