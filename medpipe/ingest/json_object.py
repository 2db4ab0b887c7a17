"""A JSON object: its members are the records, or those of a list or an object further inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpipe.ingest.batches import Record, broken
from medpipe.ingest.errors import IngestError
from medpipe.ingest.json_array import ARRAY
from medpipe.ingest.json_window import Container, CutError, JsonWindow, contained_records, skipped

WHOLE = "."
"""As the place of the records: each object at the top of the file is itself a record."""
KEY = "key"
VALUE = "value"

_REASON = "truncated_object"
_SHOWN_NAMES = 20


def keyed(name: str, value: Any) -> dict[str, Any]:
    """A member as a record: its value with the name as field `key`, unless it has a `key` of its own."""
    if type(value) is dict:
        value.setdefault(KEY, name)
        return value
    return {KEY: name, VALUE: value}


def _member(window: JsonWindow) -> Record:
    name, complaint = window.name()
    record = window.record()
    if record.fault is not None:
        return record
    if complaint is not None:
        return broken("encoding", complaint, name)
    return record._replace(value=keyed(name, record.value))


_OBJECT = Container("object", "}", '"', _REASON, _member)


def read_json_object(path: Path, *, encoding: str, records: str | None = None) -> Iterator[Record]:
    """Yields the records of a file that is one JSON object.

    A member that is an object is a record as it is, with its name as the field `key`; any other value becomes
    `{"key": name, "value": value}`. A broken one is a fault `broken_json`; where the object ends too
    early, or the end of what is broken cannot be found, the rest is one fault `truncated_object`.

    Args:
        path: the file.
        encoding: of the file.
        records: name of the member that holds the records in a list or an object, dotted for one further
            inside; `.` where the object itself is the record (several may follow each other).

    Raises:
        IngestError: the file does not start with `{`, or there are no records at that place.
    """
    with path.open("rb") as file:
        window = JsonWindow(file, encoding)
        first = window.peek()
        if first == "":
            return
        if first != "{":
            raise IngestError(
                f"{path} is declared a JSON object but starts with {first!r}; set 'format: json_array' or "
                "'auto' for it in the catalog"
            )
        if records == WHOLE:
            yield from _following(window)
            return
        try:
            container = _OBJECT if records is None else _descend(window, path, records)
        except CutError as error:
            yield window.cut(_REASON, f"{error}, before the member '{records}'", 0)
            return
        window.position += 1
        yield from contained_records(window, container, whole_file=records is None)


def _following(window: JsonWindow) -> Iterator[Record]:
    """Values one after the other, with white space or commas between them."""
    count = 0
    while following := window.peek():
        if following == "," and count:
            window.position += 1
            continue
        try:
            record, is_found = window.record(), True
        except CutError as error:
            record, is_found = skipped(window, "", _REASON, str(error), count, whole_file=False)
        yield record
        count += 1
        if not is_found:
            return


def _descend(window: JsonWindow, path: Path, records: str) -> Container:
    """Moves to the list or the object of that name and says which it is."""
    rest: str | None = records
    while rest:
        rest = _find(window, path, records, rest)
    containers = {"[": ARRAY, "{": _OBJECT}
    found = window.peek()
    if found not in containers:
        raise IngestError(f"{path}: '{records}' is neither a list nor an object; correct 'records'")
    return containers[found]


def _find(window: JsonWindow, path: Path, records: str, wanted: str) -> str:
    """Moves to the value of a member of the object at the position, by its name or the first part of it.

    Returns:
        What is left of the name.
    """
    if window.peek() != "{":
        raise IngestError(
            f"{path}: what should hold '{wanted}' is no object; correct 'records: {records}' in the catalog"
        )
    window.position += 1
    first, _, rest = wanted.partition(".")
    seen: list[str] = []
    while window.peek() != "}":
        name, _ = window.name()
        if name in (wanted, first):
            return "" if name == wanted else rest
        if len(seen) <= _SHOWN_NAMES:
            seen.append(name)
        window.skip()
        following = window.peek()
        if following == ",":
            window.position += 1
        elif following not in ("}", '"'):
            raise CutError("expected ',' or '}'" if following else "the file ends inside the object")
    shown = ", ".join(seen[:_SHOWN_NAMES]) + (", …" if len(seen) > _SHOWN_NAMES else "")
    raise IngestError(
        f"{path} has no member '{first}'; correct 'records: {records}' in the catalog. "
        f"There is: {shown or 'none'}"
    )
