"""Which commit a moving revision stands for: `sources.lock` in the lake.

A branch or tag moves; the commit that it stood for at the first fetch is kept here, so that every later
run reads the same bytes until a person asks for a refresh. A commit in the catalog needs no lock.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from medpipe.ingest.errors import FetchError
from medpipe.ingest.exclusive import exclusive
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.lake.shared_files import change, refresh_file

_COMMIT = re.compile(r"[0-9a-f]{40}")
FOLDER_STATE = "folder-"
"""Begins the name of a folder's state; a digest of its files follows."""
_FOLDER_STATE = re.compile(FOLDER_STATE + r"[0-9a-f]{32}")


def is_commit(revision: str) -> bool:
    """Whether a revision names one commit and so can never move."""
    return _COMMIT.fullmatch(revision) is not None


def is_revision(name: str) -> bool:
    """Whether a name is that of a snapshot: a whole commit, or the state of a folder."""
    return is_commit(name) or _FOLDER_STATE.fullmatch(name) is not None


def locked_commit(lake: Lake, *, repository: str, revision: str) -> str | None:
    """The commit that a revision of a repository stands for; None if nobody asked the hub yet.

    Raises:
        FetchError: `sources.lock` cannot be read.
    """
    if is_commit(revision):
        return revision
    commit = _read(lake).get(repository, {}).get(revision)
    return commit if isinstance(commit, str) and is_commit(commit) else None


def lock_commit(lake: Lake, *, repository: str, revision: str, commit: str) -> None:
    """Notes the commit that a moving revision stands for; a revision that is a commit needs no note.

    Raises:
        FetchError: `sources.lock` cannot be read.
    """
    if is_commit(revision):
        return

    def noted(locked: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {**locked, repository: {**locked.get(repository, {}), revision: commit}}

    with exclusive(lake.sources_lock.with_name(".sources.lock.guard")):
        if lake.store is None:
            write_json_atomically(lake.sources_lock, noted(_read(lake)))
        else:
            _read(lake)  # refuses a file that is broken
            change(lake, lake.sources_lock, lambda locked: noted(locked or {}))


def _read(lake: Lake) -> dict[str, dict[str, Any]]:
    refresh_file(lake, lake.sources_lock)
    try:
        content = orjson.loads(lake.sources_lock.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise FetchError(
            f"{lake.sources_lock} cannot be read ({error}); restore it, or delete it to take the newest "
            "revisions"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(item, dict) for item in content.values()):
        raise FetchError(
            f"{lake.sources_lock} is no map of repositories; restore it, or delete it to take the newest "
            "revisions"
        )
    return content
