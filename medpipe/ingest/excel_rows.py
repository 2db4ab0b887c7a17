"""Prints the cells of a workbook as JSON lines: run by `read_excel` as a process of its own.

The library that reads workbooks fills a rectangle that reaches to the last cell. In a damaged or hostile
file that cell lies anywhere, so that memory or the process ends: here it is this process, and its memory is
limited.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

MAX_MEMORY_BYTES = 4 << 30
"""Address space. A full sheet with four columns of short texts takes about 1.3 GB."""


def main(path: Path) -> None:
    """Prints `{"sheet": name}` before each worksheet and a list of cells for each row that is not blank.

    The last line is `{"end": null}`, `{"protected": null}` or `{"damaged": why}`; none of these if the
    process broke off.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    for message in _messages(path):
        sys.stdout.buffer.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _messages(path: Path) -> Iterator[Any]:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, ZipError

    try:
        # Not by path, since some publishers' suffixes are wrong.
        with path.open("rb") as file, CalamineWorkbook.from_filelike(file) as book:
            for number, facts in enumerate(book.sheets_metadata):
                if facts.typ == SheetTypeEnum.WorkSheet:
                    yield {"sheet": facts.name}
                    yield from _rows(book.get_sheet_by_index(number))
    except PasswordError:
        yield {"protected": None}
    except (CalamineError, ZipError, OSError, ValueError) as error:
        yield {"damaged": str(error)}
    else:
        yield {"end": None}


def _rows(sheet: Any) -> Iterator[list[Any]]:
    for row in sheet.iter_rows():
        cells = [_cell(cell) for cell in row]
        if any(cell is not None for cell in cells):
            yield cells


def _cell(value: Any) -> str | int | float | bool | None:
    match value:
        case "":
            return None
        case float() if value.is_integer():
            return int(value)
        case str() | bool() | int() | float():
            return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
