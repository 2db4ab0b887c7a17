"""Names that people can say: each snapshot has the day of its refresh, `2026-11-22`, `2026-11-22.2`, ….

The digest stays what a run pins; the name leads to it. One small file a name in `snapshots/names/`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson

from medpipe.lake.files import fsync_path
from medpipe.lake.layout import Lake, safe_name
from medpipe.lake.shared_files import refresh_file, share

_MOST_A_DAY = 10_000


def _folder(lake: Lake) -> Path:
    return lake.snapshots / "names"


def name_snapshot(lake: Lake, digest: str, *, now: datetime | None = None) -> str:
    """Gives a snapshot the next name of the day, or finds the one that it has.

    Args:
        lake: the lake.
        digest: the snapshot.
        now: the present if None.

    Raises:
        RuntimeError: a day has more snapshots than anybody makes.
    """
    if (known := snapshot_names(lake).get(digest)) is not None:
        return known
    folder = _folder(lake)
    folder.mkdir(parents=True, exist_ok=True)
    day = (now or datetime.now(UTC)).date().isoformat()
    for number in range(1, _MOST_A_DAY):
        path = folder / f"{day if number == 1 else f'{day}.{number}'}.json"
        try:
            # Only one of two processes can make a file of that name.
            with path.open("xb") as file:
                file.write(orjson.dumps({"snapshot": digest}))
        except FileExistsError:
            continue
        fsync_path(path)
        fsync_path(folder)
        if not share(lake, path, once=True):
            # Another machine has given the name to a snapshot of its own meanwhile.
            refresh_file(lake, path)
            if orjson.loads(path.read_bytes()) != {"snapshot": digest}:
                continue
        return path.stem
    raise RuntimeError(f"{folder} has {_MOST_A_DAY} names of one day; remove what nobody needs")


def snapshot_names(lake: Lake) -> dict[str, str]:
    """Names by digest; a name that was cut off while it was written is left out."""
    found = {}
    for path in sorted(_folder(lake).glob("*.json"), reverse=True):
        try:
            found[str(orjson.loads(path.read_bytes())["snapshot"])] = path.stem
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
    return found


def newest_names(lake: Lake, *, most: int) -> list[str]:
    """The last so many names that snapshots were given, the newest first, as far as they are known here."""

    def place(name: str) -> tuple[str, int]:
        day, _, number = name.partition(".")
        return day, int(number) if number.isdigit() else 1

    names = [path.stem for path in _folder(lake).glob("*.json")]
    return sorted(names, key=place, reverse=True)[:most]


def named(lake: Lake, name: str) -> str | None:
    """The digest of the snapshot that has a name; None if there is none.

    Raises:
        UnsafePathError: the name would lead out of the lake.
    """
    safe_name(name)
    return next((digest for digest, each in snapshot_names(lake).items() if each == name), None)
