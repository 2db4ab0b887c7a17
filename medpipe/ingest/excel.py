"""Excel workbooks: `.xls`, `.xlsx`, `.xlsb`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from medpipe.ingest.batches import Record, broken
from medpipe.ingest.columns import column_names
from medpipe.ingest.errors import IngestError


def read_excel(path: Path, *, columns: Sequence[str] = ()) -> Iterator[Record]:
    """Yields each row of each worksheet, one sheet after the other, as an object of column name and cell.

    The first row of a sheet that is not blank names its columns unless `columns` does. Blank rows are no
    records, empty cells null, whole numbers integers, dates and times ISO 8601 strings; a row with more cells
    than columns is a fault `broken_table_row`. A sheet is held in memory as a whole (Excel ends it at
    1,048,576 rows), in a process of its own.

    Raises:
        IngestError: the file is no workbook, damaged or encrypted, or takes too much memory.
    """
    with _printed(path) as lines:
        message: Any = None
        names: list[str] = []
        for line in lines:
            message = orjson.loads(line)
            if type(message) is dict:
                names = list(columns)
            elif not names:
                names = column_names(["" if cell is None else str(cell) for cell in message])
            else:
                yield _record(message, names)
    if message == {"end": None}:
        return
    if type(message) is dict and "protected" in message:
        raise IngestError(
            f"{path} is protected by a password; save it without one and name that file in the catalog"
        )
    reason = message.get("damaged") if type(message) is dict else None
    raise IngestError(
        f"{path} cannot be read as an Excel workbook ({reason or 'its reader broke off'}); it is damaged, "
        "too large or of another format: fetch it again, save it as CSV, or set 'format' to 'csv' or 'tsv' "
        "if it is text in truth"
    )


@contextmanager
def _printed(path: Path) -> Iterator[IO[bytes]]:
    """What `excel_rows` prints of a workbook."""
    command = [sys.executable, "-m", "medpipe.ingest.excel_rows", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if process.stdout is None:
            raise RuntimeError("a pipe was asked for")
        try:
            yield process.stdout
        finally:
            process.kill()


def _record(cells: list[Any], names: list[str]) -> Record:
    size = sum(len(str(cell)) for cell in cells)
    if any(cell is not None for cell in cells[len(names) :]):
        return broken("broken_table_row", f"{len(cells)} cells in {len(names)} columns", str(cells))
    cells += [None] * (len(names) - len(cells))
    return Record(dict(zip(names, cells, strict=False)), size)
