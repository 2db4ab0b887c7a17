"""A JSON array: each element is a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medpipe.ingest.batches import Record
from medpipe.ingest.errors import IngestError
from medpipe.ingest.json_window import Container, JsonWindow, contained_records

ARRAY = Container("array", "]", '[{"-0123456789tfnNI', "truncated_array", JsonWindow.record)


def read_json_array(path: Path, *, encoding: str) -> Iterator[Record]:
    """Yields one record an element; one that is broken is a fault `broken_json`.

    Where the array ends too early, or the end of what is broken cannot be found, the rest is one fault
    `truncated_array`.

    Raises:
        IngestError: the file does not start with `[`.
    """
    with path.open("rb") as file:
        window = JsonWindow(file, encoding)
        first = window.peek()
        if first == "":
            return
        if first != "[":
            raise IngestError(
                f"{path} is declared a JSON array but starts with {first!r}; set 'format: jsonl' or 'auto' "
                "for it in the catalog"
            )
        window.position += 1
        yield from contained_records(window, ARRAY, whole_file=True)
