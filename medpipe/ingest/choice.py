"""Which files of a repository or folder a catalog entry chooses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medpipe.catalog.source import Source, SourceFile
from medpipe.ingest.errors import FetchError, IngestError
from medpipe.ingest.patterns import RESERVED, matching
from medpipe.ingest.readers import matching_files
from medpipe.ingest.subsets import is_published, published_split
from medpipe.lake.dataset import Dataset
from medpipe.records.kinds import Split

_SHOWN_PATHS = 20


@dataclass(frozen=True)
class Chosen:
    """The files that one `SourceFile`, or its lookup, means."""

    file: SourceFile
    pattern: str
    paths: tuple[str, ...]
    is_lookup: bool = False

    @property
    def is_resolved(self) -> bool:
        """Whether a published subset or split named them."""
        return is_published(self.file) and not self.is_lookup


@dataclass(frozen=True)
class Choice:
    """Which files a catalog entry means, of those that are there."""

    chosen: tuple[Chosen, ...]
    missing: tuple[str, ...]
    """Patterns of validation and test files that match nothing."""

    @property
    def paths(self) -> list[str]:
        """Every chosen file once, sorted."""
        return sorted({path for chosen in self.chosen for path in chosen.paths})

    def facts(self) -> dict[str, Any]:
        """What the manifest keeps: files by pattern, published subsets as resolved, and what has none."""
        return {
            "files": {
                each.pattern: list(each.paths) for each in self.chosen if each.paths and not each.is_resolved
            },
            "resolved": [
                _published(each.file) | {"files": list(each.paths)}
                for each in self.chosen
                if each.is_resolved
            ],
            "missing": list(self.missing),
        }


def choose(
    source: Source, paths: Iterable[str], *, place: str, resolved: Mapping[int, Iterable[str]] | None = None
) -> Choice:
    """Matches a catalog entry's patterns with the files that are there.

    Args:
        source: the catalog entry.
        paths: what is there, relative and with `/`.
        place: named in errors.
        resolved: files of the published split, by position in `source.files`, for those that name one; the
            path pattern chooses among them.

    Raises:
        FetchError: a pattern of the train split, or of a lookup, matches nothing.
    """
    available = sorted(paths)
    chosen: list[Chosen] = []
    missing: list[str] = []
    for number, file in enumerate(source.files):
        among = sorted((resolved or {}).get(number, available))
        found = matching(among, file.path)
        chosen.append(Chosen(file, file.path, tuple(found)))
        if not found and file.split is Split.TRAIN:
            raise _nothing_matches(source, file.path, place, among)
        if not found:
            missing.append(file.path)
        elif file.lookup is not None:
            found = matching(available, file.lookup.path)
            if not found:
                raise _nothing_matches(source, file.lookup.path, place, available)
            chosen.append(Chosen(file, file.lookup.path, tuple(found), is_lookup=True))
    if not any(each.paths for each in chosen):
        patterns = ", ".join(f"'{pattern}'" for pattern in missing)
        raise FetchError(
            f"{source.id}: no file of {place} matches {patterns}; correct 'files' in its catalog entry. "
            f"There is: {_shown(available)}"
        )
    return Choice(tuple(chosen), tuple(missing))


def files_of(raw: Dataset, file: SourceFile) -> list[Path]:
    """The files of a snapshot that an entry means, in the order of their paths.

    Raises:
        IngestError: the snapshot is gone, or was made before the entry named a published subset or split.
    """
    if not is_published(file):
        return matching_files(raw.fetched().path, file.path)
    for resolved in raw.manifest.facts.get("resolved", []):
        if _published(file).items() <= resolved.items():
            return [raw.file(path) for path in resolved["files"]]
    subset = f" of the subset '{file.subset}'" if file.subset else ""
    raise IngestError(
        f"{raw.path} knows nothing of the split '{published_split(file)}'{subset}; materialise the source's "
        "raw asset again"
    )


def lookup_files(raw: Dataset, file: SourceFile) -> list[Path]:
    """The files of a snapshot that hold an entry's second table; none if it has no such table.

    Raises:
        IngestError: the snapshot is gone.
    """
    return [] if file.lookup is None else matching_files(raw.fetched().path, file.lookup.path)


def _published(file: SourceFile) -> dict[str, str | None]:
    return {"subset": file.subset, "published_split": published_split(file), "path": file.path}


def _nothing_matches(source: Source, pattern: str, place: str, available: list[str]) -> FetchError:
    reserved = " (the lake keeps that name for itself)" if pattern in RESERVED else ""
    return FetchError(
        f"{source.id}: no file of {place} matches '{pattern}'{reserved}; correct 'files' in its catalog "
        f"entry. There is: {_shown(available)}"
    )


def _shown(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return (", ".join(paths[:_SHOWN_PATHS]) or "nothing") + more
