"""Deterministic writing: seeded random generators and atomic file writers for the sample hub."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

Record = Mapping[str, Any] | str
"""One row: a mapping written as JSON, or a raw line written as it is (broken rows)."""

_BOM = "\ufeff"


@dataclass(frozen=True)
class SampleFile:
    """One written file: its path below the hub, its number of rows and its size."""

    path: str
    records: int
    bytes: int


def rng(*parts: str | int) -> random.Random:
    """Returns a random generator that depends on nothing but `parts`.

    Args:
        parts: the key, for example ("disease", "哮喘", 3).

    Returns:
        A generator seeded from the SHA-256 of the key: the same on every machine and in every run.
    """
    key = "\x1f".join(str(part) for part in parts)
    return random.Random(int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:16], "big"))


def write_jsonl(
    hub: Path,
    path: str,
    records: Iterable[Record],
    *,
    encoding: str = "utf-8",
    newline: str = "\n",
    bom: bool = False,
) -> SampleFile:
    """Writes rows as one JSON object per line.

    Args:
        hub: root folder of the hub.
        path: path below the hub, with forward slashes.
        records: mappings (written as JSON) or strings (written as raw lines, for broken rows).
        encoding: encoding of the file; every character must be encodable.
        newline: the line end, LF or CRLF.
        bom: whether the file starts with a byte order mark.

    Returns:
        What was written.
    """
    lines = [row if isinstance(row, str) else orjson.dumps(row).decode("utf-8") for row in records]
    text = "".join(line + newline for line in lines)
    content = ((_BOM if bom else "") + text).encode(encoding)
    return _replace(hub, path, content, len(lines))


def write_text(hub: Path, path: str, text: str) -> SampleFile:
    """Writes a text file as UTF-8.

    Args:
        hub: root folder of the hub.
        path: path below the hub, with forward slashes.
        text: the whole content.

    Returns:
        What was written; `records` is 0, since a text file holds no rows.
    """
    return _replace(hub, path, text.encode("utf-8"), 0)


def _replace(hub: Path, path: str, content: bytes, records: int) -> SampleFile:
    """Puts `content` at its place in one step; a file with the same bytes is left alone."""
    target = hub / path
    entry = SampleFile(path=path, records=records, bytes=len(content))
    if target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content:
        return entry
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return entry
