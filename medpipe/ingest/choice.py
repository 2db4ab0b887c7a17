"""Which files of a repository or folder a catalog entry chooses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from medpipe.catalog.source import Source
from medpipe.ingest.errors import FetchError
from medpipe.ingest.patterns import RESERVED, matching
from medpipe.records.kinds import Split

_SHOWN_PATHS = 20


@dataclass(frozen=True)
class Choice:
    """Which files a catalog entry means, of those that are there."""

    by_pattern: dict[str, list[str]]
    missing: list[str]
    """Patterns of validation and test files that match nothing."""

    @property
    def paths(self) -> list[str]:
        """Every chosen file once, sorted."""
        return sorted({path for paths in self.by_pattern.values() for path in paths})


def choose(source: Source, paths: Iterable[str], *, place: str) -> Choice:
    """Matches a catalog entry's patterns with the files that are there.

    Args:
        source: the catalog entry.
        paths: what is there, relative and with `/`.
        place: named in errors.

    Raises:
        FetchError: a pattern of the train split matches nothing.
    """
    available = sorted(paths)
    by_pattern: dict[str, list[str]] = {}
    missing: list[str] = []
    for file in source.files:
        found = matching(available, file.path)
        if found:
            by_pattern[file.path] = found
        elif file.split is Split.TRAIN:
            raise FetchError(
                f"{source.id}: no file of {place} matches '{file.path}'{_reserved_hint(file.path)}; correct "
                f"'files' in its catalog entry. There is: {_shown(available)}"
            )
        else:
            missing.append(file.path)
    if not by_pattern:
        patterns = ", ".join(f"'{pattern}'" for pattern in missing)
        raise FetchError(
            f"{source.id}: no file of {place} matches {patterns}; correct 'files' in its catalog entry. "
            f"There is: {_shown(available)}"
        )
    return Choice(by_pattern, missing)


def _reserved_hint(pattern: str) -> str:
    return " (the lake keeps that name for itself)" if pattern in RESERVED else ""


def _shown(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return (", ".join(paths[:_SHOWN_PATHS]) or "nothing") + more
