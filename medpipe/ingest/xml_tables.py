"""Tables of XML articles as lines of text: a row a line, its cells between bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

BAR = " | "
MOST_ROWS = 1_000
"""A longer table is data, not reading matter; the rows beyond are left out."""
_WIDEST = 100
"""Columns that spans may fill: a span is a number that anybody can write."""
_PARTS = {"thead": 0, "tfoot": 2}
"""Where rows stand; JATS publishes a foot before the body."""


def table_lines(element: Any, cell_text: Callable[[Any], str]) -> list[str]:
    """The rows of a table, the head first.

    An empty cell stays empty, and so does what a cell covers beside and below itself: each cell stays below
    the head of its own column. Rows without any text are left out.

    Args:
        element: a `table` of XHTML, as JATS has it.
        cell_text: gives the text of a cell on one line.
    """
    rows = sorted(_rows(element), key=lambda row: row[0])
    lines = []
    covered: dict[int, int] = {}
    part = -1
    for number, row in rows[:MOST_ROWS]:
        if number != part:
            # A cell covers rows of its own part of the table alone.
            part, covered = number, {}
        cells = [cell_text(cell) if cell is not None else "" for cell in _columns(row, covered)]
        if any(cells):
            lines.append(BAR.join(cells).strip(" "))
    return lines


def _rows(element: Any) -> Iterator[tuple[int, Any]]:
    for item in element:
        name = _local(item)
        if name == "tr":
            yield 1, item
        elif name in ("thead", "tbody", "tfoot"):
            for row in item:
                if _local(row) == "tr":
                    yield _PARTS.get(name, 1), row


def _columns(row: Any, covered: dict[int, int]) -> Iterator[Any]:
    """The cells of a row, None for each column that another cell covers.

    Args:
        row: the `tr`.
        covered: for how many more rows a column is covered by a cell from above; brought up to date.
    """
    column = 0

    def skip_covered() -> Iterator[None]:
        nonlocal column
        while covered.get(column, 0) > 0:
            covered[column] -= 1
            column += 1
            yield None

    for cell in row:
        if _local(cell) not in ("td", "th"):
            continue
        yield from skip_covered()
        yield cell
        rows, width = _span(cell, "rowspan"), _span(cell, "colspan")
        for more in range(min(width, max(_WIDEST - column, 1))):
            covered[column] = rows - 1
            column += 1
            if more:
                yield None
    yield from skip_covered()


def _span(cell: Any, name: str) -> int:
    value = cell.get(name, "1").strip()
    return max(int(value), 1) if value.isdecimal() and len(value) < 5 else 1


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
