"""The demo's result as tables for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from medpipe.operate.demo import DemoFacts

DISCLAIMER = "The model learnt from a small sample written for tests. Nothing it says is medical advice."


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _in_short(assets: Iterable[str]) -> str:
    """Asset names by their first part: `raw (8), tokenizer, pretrain (4)`."""
    groups = Counter(name.split("/")[0] for name in assets)
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in groups.items())


def print_demo(facts: DemoFacts, console: Console) -> None:
    """Prints records by source, tokens by domain, losses by stage, the sample, and where everything is."""
    sources = _table("Records by source", "source", "in", "kept", "rejected")
    for row in facts.sources:
        sources.add_row(row["source"], f"{row['rows']:,}", f"{row['kept']:,}", f"{row['rejected']:,}")
    sources.add_section()
    sources.add_row(
        "all", *(f"{sum(row[key] for row in facts.sources):,}" for key in ("rows", "kept", "rejected"))
    )
    console.print(sources)

    tokens = _table("Tokens by domain", "domain", "tokens")
    for domain, count in facts.tokens.items():
        tokens.add_row(domain, f"{count:,}")
    tokens.add_section()
    tokens.add_row("all", f"{sum(facts.tokens.values()):,}")
    console.print(tokens)

    stages = _table("Stages", "stage", "steps", "tokens", "loss", "bits per byte")
    for stage in facts.stages:
        loss = f"{stage['loss_first']:.2f} → {stage['loss_last']:.2f}"
        bits = f"{stage['bits_per_byte']['all']:.3f}"
        stages.add_row(stage["name"], f"{stage['steps']:,}", f"{stage['tokens']:,}", loss, bits)
    console.print(stages)

    names = [stage["name"] for stage in facts.stages]
    matrix = _table("Bits per byte (lower is better)", "domain", *names)
    for domain in facts.stages[-1]["bits_per_byte"]:
        measured = [stage["bits_per_byte"].get(domain) for stage in facts.stages]
        matrix.add_row(domain, *("–" if bits is None else f"{bits:.3f}" for bits in measured))
    console.print(matrix)

    console.print("[bold]The last checkpoint writes[/bold]")
    console.print(facts.sample.strip(), markup=False, highlight=False)
    console.print(f"[dim]{DISCLAIMER}[/dim]\n")
    if facts.reused:
        console.print(f"Up to date and reused: {_in_short(facts.reused)}")
    for name, place in facts.links.items():
        console.print(f"{name:18} {place}", markup=False, highlight=False, soft_wrap=True)
    console.print("`.venv/bin/medpipe dev --sample` starts both UIs at these addresses, on this corpus;")
    console.print("`make dev` starts them on the real sources.")
    console.print(f"Done in {facts.seconds:.0f} s.")
