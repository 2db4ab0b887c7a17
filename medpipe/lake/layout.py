"""The path rules of the lake, each once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medpipe.settings import Settings

HEAD = "HEAD"
"""File beside the data sets of a name that says which one is current."""
_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*", re.IGNORECASE)


class UnsafePathError(ValueError):
    """A name would lead out of the lake."""


def safe_name(name: str) -> str:
    """Returns `name` if it can be one folder name.

    Raises:
        UnsafePathError: it holds a separator, starts with a dot, or has other characters than
            letters, digits and `_ . + -`.
    """
    if not _SAFE_NAME.fullmatch(name) or ".." in name:
        raise UnsafePathError(
            f"{name!r} cannot name a folder of the lake: use letters, digits, '_', '-', '.'"
        )
    return name


@dataclass(frozen=True)
class Lake:
    """All paths below one root folder, and the store that they are a local copy of, where there is one."""

    root: Path
    store: str | None = None
    """`s3://bucket/prefix`; the data sets then lie there, and the root holds what was read or made here."""

    def room(self, room: str, *names: str) -> Path:
        """Folder of the data sets called `names` that a room publishes, one subfolder a digest."""
        return self.root.joinpath(safe_name(room), *(safe_name(name) for name in names))

    def dataset(self, room: str, *names: str, digest: str) -> Path:
        """Folder of one immutable data set, fetched from the store where it is not here yet.

        Raises:
            StoreError: the store cannot be reached, or what it has is damaged.
        """
        folder = self.room(room, *names) / safe_name(digest)
        if self.store is not None:
            from medpipe.lake.remote import fetch_pinned

            fetch_pinned(self, folder, key=self.key(folder))
        return folder

    def key(self, path: Path) -> str:
        """A path of the lake as the store names it: from the root, with slashes."""
        return path.relative_to(self.root).as_posix()

    def raw(self, source: str) -> Path:
        """Folder of a source's snapshots, one subfolder a revision."""
        return self.room("raw", source)

    def runs(self, curriculum: str) -> Path:
        """Folder of a curriculum's training runs, one subfolder a stage digest and seed."""
        return self.root / "runs" / safe_name(curriculum)

    @property
    def snapshots(self) -> Path:
        """Folder of corpus snapshots."""
        return self.root / "snapshots"

    @property
    def sources_lock(self) -> Path:
        """File that keeps which commit a moving revision stands for."""
        return self.root / "sources.lock"

    def inside(self, path: Path) -> Path:
        """Returns the absolute path.

        Raises:
            UnsafePathError: it does not lie under the root once symbolic links are followed.
        """
        resolved = path.resolve()
        if not resolved.is_relative_to(self.root.resolve()):
            raise UnsafePathError(f"{path} lies outside the lake {self.root}")
        return resolved


def open_lake(settings: Settings) -> Lake:
    """The lake of an installation."""
    return Lake(settings.lake, settings.lake_store)
