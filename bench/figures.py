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
            _number(row.medpipe),
            _number(row.peer),
            row.peer_name,
            row.unit,
            f"{row.ratio:.2f}" if row.ratio else "",
            row.target,
        )
    Console().print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


if __name__ == "__main__":
    show()
