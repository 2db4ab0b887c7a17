"""The catalog, one source, what the hub has, and what a check found: as tables for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medpipe.catalog.check import CheckedCatalog
from medpipe.catalog.choices import web_page
from medpipe.catalog.selection import Catalog, State
from medpipe.catalog.source import Source, SourceFile

if TYPE_CHECKING:
    from medpipe.ingest.hub_search import FoundDataset

_UNKNOWN = "–"
_SOURCE_WIDTH = 24
"""Least width of the column with the domains, which would else be broken into many lines."""


def print_sources(sources: Sequence[Source], catalog: Catalog, console: Console) -> None:
    """Prints two or more lines a source: its id above its domains and language, the rest beside them."""
    if not sources:
        console.print("No source is like that; leave out a condition.")
        return
    table = _table()
    table.add_column("source", width=max(_SOURCE_WIDTH, *(len(source.id) for source in sources)))
    table.add_column("licence", overflow="fold")
    for name in ("used for", "size", "state"):
        table.add_column(name, no_wrap=True)
    counts: Counter[str] = Counter()
    for source in sources:
        states = catalog.states(source)
        counts.update(states)
        about = ", ".join([*source.domains, source.language])
        if source.name != source.id:  # a hash says nothing to a person
            about = f"{escape(source.title)}\n{about}"
        table.add_row(
            f"{source.id}\n[dim]{about}[/dim]",
            escape(source.licence.name or "not stated"),
            "\n".join(source.uses) or _UNKNOWN,
            bytes_text(source.size_bytes),
            "\n".join(states),
        )
    console.print(table)
    summary = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    console.print(f"{len(sources)} of {len(catalog.sources)} sources{': ' if summary else ''}{summary}")
    console.print("`medpipe sources show ID` tells everything of one.", highlight=False)


def print_source(source: Source, states: Iterable[State], warnings: Iterable[str], console: Console) -> None:
    """Prints what the catalog knows of one source, and its files."""
    console.print(f"[bold]{source.id}[/bold]  {escape(source.title)}", highlight=False)
    console.print(escape(source.description), highlight=False)
    licence = " – ".join(filter(None, [source.licence.name or "not stated", source.licence.note]))
    facts = {
        "state": ", ".join(states),
        "note": source.status_note,
        "page": web_page(source),
        "repository": source.repository and f"{source.repository} at {source.revision}",
        "folder": source.folder,
        "licence": f"{licence} ({'read' if source.licence.verified else 'not read'} at the publisher's page)",
        "used for": ", ".join(source.uses) or None,
        "language": source.language,
        "genre": source.genre,
        "records": source.kind and f"{source.kind}, from the layout '{_layout_name(source)}'",
        "size": bytes_text(source.size_bytes),
        "published records": None if source.published_rows is None else f"{source.published_rows:,}",
        "derived from": ", ".join(source.derived_from) or None,
        "verified": "files and record shape were read in the data set" if source.verified else "not yet",
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            grid.add_row(name, escape(str(value)))
    for warning in warnings:
        grid.add_row("[yellow]warning[/yellow]", escape(warning))
    console.print(grid)
    if source.files:
        table = _table("file", "format", "domain", "split", "records")
        for file in source.files:
            rows = _UNKNOWN if file.published_rows is None else f"{file.published_rows:,}"
            table.add_row(_file_text(file), file.format, file.domain, file.split, rows)
        console.print(table)


def found_facts(found: Iterable[FoundDataset], catalog: Catalog) -> list[dict[str, Any]]:
    """What the hub said of each data set, and which entries of the catalog are of it."""
    return [
        asdict(dataset) | {"in_catalog": [s.id for s in catalog.sources if _is_of(s, dataset.id)]}
        for dataset in found
    ]


def print_found(rows: Sequence[dict[str, Any]], text: str, console: Console) -> None:
    """Prints the hub's answer to a search."""
    if not rows:
        console.print(f"The hub has no data set with '{text}' in its name.", markup=False)
        return
    table = _table("data set", "downloads", "likes", "licence", "size", "gated", "in the catalog")
    for row in rows:
        table.add_row(
            row["id"],
            _UNKNOWN if row["downloads"] is None else f"{row['downloads']:,}",
            _UNKNOWN if row["likes"] is None else f"{row['likes']:,}",
            escape(row["licence"] or "not stated"),
            escape(row["size"] or _UNKNOWN),
            row["gated"] or "no",
            "\n".join(row["in_catalog"]) or "no",
        )
    console.print(table)


def check_facts(checked: CheckedCatalog) -> dict[str, Any]:
    """What a check found, as plain values."""
    return {
        "files": [str(file) for file in checked.files],
        "entries": [
            {
                "id": source.id,
                "title": source.title,
                "status": source.status.value,
                "note": source.status_note,
            }
            for source in checked.sources
        ],
        "mistakes": [asdict(mistake) | {"file": str(mistake.file)} for mistake in checked.mistakes],
    }


def print_check(checked: CheckedCatalog, console: Console) -> None:
    """Prints every mistake on a line; without any the entries, and what to know of them."""
    if checked.mistakes:
        for mistake in checked.mistakes:
            _print_plain(console, str(mistake))
        _print_plain(console, f"{len(checked.mistakes)} to correct in {_files_text(checked)}")
        return
    for source in checked.sources:
        _print_plain(
            console, " – ".join(filter(None, [f"{source.name}: {source.status}", source.status_note]))
        )
    entries = "1 entry" if len(checked.sources) == 1 else f"{len(checked.sources)} entries"
    _print_plain(console, f"{entries} in {_files_text(checked)}, no mistake")


def _print_plain(console: Console, line: str) -> None:
    """Prints a line neither wrapped nor coloured: an editor finds the place by `file:line`."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def bytes_text(size: int | None) -> str:
    """A size in decimal units, such as `1.5 GB`."""
    if size is None:
        return _UNKNOWN
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f} {units[0]}" if value < 9.95 and units[0] != "B" else f"{value:.0f} {units[0]}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _layout_name(source: Source) -> str:
    return source.layout.layout if source.layout else "unknown"


def _file_text(file: SourceFile) -> str:
    """A file's path, with what chooses among its records."""
    details = {
        "in the archive": file.member,
        "subset": file.subset,
        "published split": file.published_split,
        "only the first rows": file.max_rows,
    }
    lines = [file.path, *(f"{name}: {value}" for name, value in details.items() if value), file.note or ""]
    return escape("\n".join(filter(None, lines)))


def _is_of(source: Source, repository: str) -> bool:
    """Whether an entry is of a repository, also where a person keeps a copy of it."""
    return source.repository == repository or (web_page(source) or "").endswith(f"/datasets/{repository}")


def _files_text(checked: CheckedCatalog) -> str:
    return str(checked.files[0]) if len(checked.files) == 1 else f"{len(checked.files)} files"
