"""JSONL: one JSON value a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from medpipe.ingest.batches import RAW_CHARACTERS, Record, broken
from medpipe.ingest.encoding import UTF8, IllegalByteError, decode
from medpipe.ingest.json_values import BrokenJsonError, parse_json
from medpipe.ingest.lines import Line, read_lines

_RAW_BYTES = 4 * RAW_CHARACTERS


def read_json_lines(path: Path, *, encoding: str) -> Iterator[Record]:
    """Yields one record a line that is not blank; a line that cannot be parsed is a fault of its own.

    A comma after the value belongs to no JSON value and is left out: some publish the inside of an array.
    """
    for line in read_lines(path):
        if line.too_long:
            yield broken(
                "line_too_long", f"the line at offset {line.offset} has no end", _raw(line, encoding)
            )
            continue
        data = line.data.rstrip()
        if data.endswith(b","):
            data = data[:-1]
        if not data:
            continue
        if encoding == UTF8:
            # orjson reads UTF-8 bytes without a copy; only what it refuses is looked at more closely.
            try:
                yield Record(orjson.loads(data), len(data))
                continue
            except orjson.JSONDecodeError:
                pass
        yield _record(line, data, encoding)


def _record(line: Line, data: bytes, encoding: str) -> Record:
    try:
        text = data if encoding == UTF8 else decode(data, encoding, offset=line.offset)
        return Record(parse_json(text), len(data))
    except UnicodeDecodeError as error:
        detail = (
            f"byte 0x{line.data[error.start]:02x} at offset {line.offset + error.start} is illegal in utf-8"
        )
        return broken("encoding", detail, _raw(line, encoding))
    except IllegalByteError as error:
        return broken("encoding", str(error), _raw(line, encoding))
    except BrokenJsonError as error:
        return broken("broken_json", f"{error} (line at offset {line.offset})", _raw(line, encoding))


def _raw(line: Line, encoding: str) -> str:
    return line.data[:_RAW_BYTES].decode(encoding, errors="replace")
