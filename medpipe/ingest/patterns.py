"""Which files of a repository a catalog entry means: the one place that knows the path rule.

`*` and `?` stay within a folder, `**` spans any number of folders, as in `pathlib`. Files whose path has
a part that starts with a dot never match, nor do the two names that the lake keeps for itself.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

RESERVED = ("manifest.json", "HEAD")
"""Names at the top of a snapshot that belong to the lake."""


def is_safe(path: str) -> bool:
    """Whether a path stays below the folder that it is relative to, and no part of it is hidden."""
    return not any(part == "" or part.startswith(".") for part in path.split("/"))


def path_matches(path: str, pattern: str) -> bool:
    """Whether a `/`-separated relative path is one that the pattern means."""
    if path in RESERVED or not is_safe(path):
        return False
    return path == pattern or _parts_match(path.split("/"), pattern.split("/"))


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    """The paths that the pattern means, sorted."""
    return sorted(path for path in paths if path_matches(path, pattern))


def may_lead_to(folder: str, pattern: str) -> bool:
    """Whether a file below this folder could match the pattern."""
    parts = folder.split("/")
    wanted = pattern.split("/")
    if wanted[-1] != "**":
        wanted.pop()
    for number, part in enumerate(parts):
        if number >= len(wanted):
            return False
        if wanted[number] == "**":
            return True
        if part != wanted[number] and not fnmatch.fnmatchcase(part, wanted[number]):
            return False
    return True


def _parts_match(path: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_parts_match(path[skip:], pattern[1:]) for skip in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _parts_match(path[1:], pattern[1:])
