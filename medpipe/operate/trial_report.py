"""What a trial found, for a person: records and rejected rows as they come, then a table of files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medpipe.normalize.trial import TriedFile

QUIET_SECONDS = 2.0
"""A trial shorter than this says nothing on the way."""
SHOWN_CHARACTERS = 1_000
"""A longer text is cut where it is shown."""


def trial_facts(tried: TriedFile) -> dict[str, Any]:
    """One line of the table as JSON values."""
    return {
        "file": tried.path,
        "source": tried.source,
        "status": tried.status.value,
        "kind": tried.kind.value if tried.kind else None,
        "published": tried.published,
        "expected": tried.expected,
        "counted": tried.counted,
        "kept": tried.kept,
        "records": tried.records,
        "rejected": tried.rejected,
        "note": tried.note,
        "error": tried.error,
        "shown": list(tried.shown),
        "shown_rejected": list(tried.shown_rejected),
    }


def is_wrong(tried: TriedFile) -> bool:
    """Whether a file could not be read, or a row of it was lost."""
    return tried.error is not None or not tried.adds_up


def patient_progress(say: Callable[[str], None]) -> Callable[[str], None]:
    """Passes on progress once a trial takes longer than `QUIET_SECONDS`, then a line in so many at most."""
    due = time.monotonic() + QUIET_SECONDS

    def progress(line: str) -> None:
        nonlocal due
        if time.monotonic() >= due:
            say(line)
            due = time.monotonic() + QUIET_SECONDS

    return progress


def print_shown(tried: TriedFile, console: Console, names: Mapping[str, str]) -> None:
    """Prints the first records and rejected rows of a file, each below the row it comes from.

    Args:
        tried: the file.
        console: where it is printed.
        names: what a person calls the sources, by id.
    """
    source = names.get(tried.source, tried.source)
    for record in tried.shown:
        part = f", record {record['part'] + 1}" if record["part"] else ""
        _heading(console, f"{source}: {tried.path}, row {record['row']}{part}: {tried.kind}")
        for name, text in _lines(record):
            _labelled(console, name, text)
    for row in tried.shown_rejected:
        detail = f" ({row['detail']})" if row["detail"] else ""
        _heading(console, f"{source}: {tried.path}, row {row['row']}: rejected: {row['reason']}{detail}")
        _labelled(console, "row", row["raw"] or "")


def print_trial(tried: Sequence[TriedFile], console: Console, names: Mapping[str, str]) -> None:
    """Prints a table of files, each above its source and the kind of its records; then its notes and sums.

    `names` is what a person calls the sources, by id.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("file, source", overflow="fold")
    for column in ("published", "expected", "kept", "records"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("rejected", overflow="fold")
    table.add_column("note", justify="right", no_wrap=True)
    notes: dict[tuple[str, str], int] = {}
    for each in tried:
        numbers = [str(notes.setdefault(note, len(notes) + 1)) for note in _notes(each)]
        about = f"\n{names.get(each.source, each.source)}, {each.kind or each.status}"
        table.add_row(Text(each.path).append(about, style="dim"), *_cells(each), "\n".join(numbers))
    console.print(table)
    for (note, style), number in notes.items():
        console.print(Text(f"{number} ").append(note, style=style), soft_wrap=True)
    for line in _sums(tried):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cells(tried: TriedFile) -> tuple[str, ...]:
    if tried.kind is None:
        return ("",) * 5
    return (
        _number(tried.published),
        "" if tried.expected is None else _number(tried.expected),
        _number(tried.kept),
        _number(tried.records),
        "\n".join(f"{reason} {_number(rows)}" for reason, rows in tried.rejected.items()),
    )


def _notes(tried: TriedFile) -> Iterator[tuple[str, str]]:
    """What is wrong with a file and what to know of it, each with a style."""
    if tried.error is not None:
        yield tried.error, "red"
    if not tried.adds_up:
        rejected = _number(sum(tried.rejected.values()))
        yield f"{_number(tried.published)} rows, {_number(tried.kept)} kept, {rejected} rejected", "red"
    if tried.count_differs:
        expected, counted = _number(tried.expected or 0), _number(tried.counted)
        why = f": {tried.note}" if tried.note else ""
        yield f"the catalog counts {expected} rows, {counted} were read{why}", "" if why else "yellow"
    elif tried.note:
        yield tried.note, ""


def _number(value: int) -> str:
    return f"{value:,}"


def _counted(count: int, thing: str) -> str:
    return f"{_number(count)} {thing}{'' if count == 1 else 's'}"


def _sums(tried: Iterable[TriedFile]) -> Iterator[str]:
    files = [each for each in tried if each.kind is not None]
    unread = sum(1 for each in tried if each.kind is None and each.error is None)
    published, kept = sum(each.published for each in files), sum(each.kept for each in files)
    kinds: dict[str, int] = {}
    for each in files:
        kinds[str(each.kind)] = kinds.get(str(each.kind), 0) + each.records
    records = ", ".join(_counted(count, kind.replace("_", " ")) for kind, count in kinds.items())
    yield (
        f"{_counted(len(files), 'file')}, {_counted(published, 'row')}: {_number(kept)} kept, "
        f"{_number(published - kept)} rejected; records: {records or 'none'}"
    )
    if unread:
        yield f"{unread} not read: listed, excluded, or no local files"
    wrong = sum(is_wrong(each) for each in tried)
    if wrong:
        yield f"{wrong} with a mistake: see the notes"


def _lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A record's content as labelled texts, in the order in which a person reads it."""
    for name, value in record.items():
        if name in ("row", "part") or value is None:
            continue
        if name in ("turns", "prompt"):
            yield from ((turn["role"], turn["content"]) for turn in value)
        elif name == "options":
            yield from ((option["label"], option["text"]) for option in value)
        else:
            yield name, ", ".join(value) if isinstance(value, list) else str(value)


def _heading(console: Console, text: str) -> None:
    console.print(Text(text, style="bold"), soft_wrap=True)


def _labelled(console: Console, name: str, text: str) -> None:
    rest = len(text) - SHOWN_CHARACTERS
    shown = f"{text[:SHOWN_CHARACTERS]} … and {_number(rest)} more characters" if rest > 0 else text
    label = Text(f"  {name}: ", style="dim")
    console.print(label.append(shown.replace("\n", "\n    "), style="default"), soft_wrap=True)
