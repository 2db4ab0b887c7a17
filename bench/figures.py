"""Measured figures: one line each in `bench/results/latest.jsonl`, and a table of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

LATEST = Path(__file__).parent / "results" / "latest.jsonl"


@dataclass(frozen=True)
class Figure:
    """One figure of medpipe beside that of its peer."""

    figure: str
    medpipe: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    target: str
    """What the ratio should be, such as `>= 4`."""


def append(figure: Figure) -> None:
    """Adds a figure to the latest results."""
    LATEST.parent.mkdir(exist_ok=True)
    with LATEST.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(figure), ensure_ascii=False) + "\n")


def show() -> None:
    """Prints the latest results as a table."""
    table = Table("figure", "medpipe", "peer", "", "unit", "ratio", "target")
    for line in LATEST.read_text(encoding="utf-8").splitlines():
        row = Figure(**json.loads(line))
        table.add_row(
            row.figure,
            f"{row.medpipe:,.0f}",
            f"{row.peer:,.0f}",
            row.peer_name,
            row.unit,
            f"{row.ratio:.2f}",
            row.target,
        )
    Console().print(table)


if __name__ == "__main__":
    show()
