"""What nobody needs, what stays all the same, and the deletion itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medpipe.lake.files import temporary_sibling

Kind = Literal["snapshot", "data set", "checkpoint", "mlflow copy", "event log"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What stays although nobody needs it."""

    snapshots: int
    """The newest so many."""
    checkpoints: int
    """Of each finished run, the newest so many."""
    event_days: int
    """Runs that ended within so many days."""
    idle_hours: float
    """Data sets that were made or replaced within so many hours: a run may be reading them."""


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """One thing that nobody needs."""

    kind: Kind
    name: str
    why: str
    paths: tuple[Path, ...]
    remove: Callable[[], bool]
    """Deletes it, after looking once more; returns whether it did."""
    bytes: int = 0
    """Of files that nothing else has a name for."""


def remove_folder(folder: Path, *, is_needed: Callable[[], bool] = lambda: False) -> bool:
    """Takes a folder or file away at once by a rename, looks whether anybody needs it now, then deletes it.

    Killed in between, it leaves a temporary name; below the lake `medpipe doctor` removes it.
    """
    gone = temporary_sibling(folder)
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return False
    stays = True
    try:
        stays = is_needed()
    finally:
        if stays:  # also where nobody could say
            gone.rename(folder)
    if stays:
        return False
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()
    return True
