"""What each source is at its publisher's now: one cheap question a repository, and no byte of its files.

On the hub that is the commit of the revision; sources of one repository share the question. In a folder it is
a fingerprint of names, sizes and times, so that files of any size are not read to find out that they stayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from medpipe.catalog.selection import why_not_fetched
from medpipe.catalog.source import Source
from medpipe.ingest.errors import BusyHubError, FetchError
from medpipe.ingest.hub import HubClient
from medpipe.ingest.revisions import is_commit
from medpipe.ingest.snapshot import choose_in_folder
from medpipe.lake.dataset import Dataset
from medpipe.lake.digest import digest_value
from medpipe.settings import Settings

LONGEST_BACK_OFF_SECONDS = 86_400.0


class Asked(BaseModel):
    """What is remembered of one question from tick to tick."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    newest: str | None = None
    """The commit of the last answer; None before the first one."""
    failures: int = 0
    """Questions in a row without an answer."""
    wait_until: float = 0.0
    """Seconds since the epoch; nobody is asked before."""
    trouble: str | None = None
    """What went wrong the last time, with the fix."""
    busy_until: float = 0.0
    """Seconds since the epoch; the hub wants no request before, for whatever repository."""
    asked_at: float = 0.0
    """Seconds since the epoch; 0 where nobody was asked yet."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """How patient the questions are."""

    now: float
    """Seconds since the epoch."""
    interval: float
    """Seconds between two questions; doubled for each failure in a row."""


def place_of(source: Source, settings: Settings) -> str | None:
    """The name of what is asked for a source: its folder by id, or `owner/name@revision`; None if frozen."""
    if is_folder(source, settings):
        return f"folder:{source.id}"
    return None if is_commit(source.revision) else f"{source.repository}@{source.revision}"


def is_folder(source: Source, settings: Settings) -> bool:
    """Whether a source's files lie in a folder, so that no hub is asked for it."""
    return source.folder is not None or settings.hub is not None


def ask(source: Source, before: Asked, *, settings: Settings, clock: Clock) -> Asked:
    """Asks for the newest state of one source; a failure is noted and waited out, never raised.

    Args:
        source: the catalog entry.
        before: what was known.
        settings: hub and credential.
        clock: the time, and how long to wait.

    Returns:
        What is known now; `before` itself where it is too early to ask.
    """
    # What was noted while the clock stood ahead is no reason to wait.
    if before.asked_at <= clock.now < before.wait_until:
        return before
    try:
        if (refusal := why_not_fetched(source, settings)) is not None:
            raise FetchError(refusal)
        if is_folder(source, settings):
            newest = folder_fingerprint(source, settings)
        else:
            client = HubClient.from_settings(settings)
            newest = client.newest_commit(str(source.repository), revision=source.revision)
    except (FetchError, OSError) as error:
        failures = before.failures + 1
        # A hub may name a date: by a clock that stands behind it lies years away.
        asked = min(LONGEST_BACK_OFF_SECONDS, error.seconds) if isinstance(error, BusyHubError) else 0.0
        # The exponent is bounded: a source that is gone for years would overflow it.
        wait = max(asked, min(LONGEST_BACK_OFF_SECONDS, clock.interval * 2.0 ** min(failures, 20)))
        return Asked(
            newest=before.newest,
            failures=failures,
            wait_until=clock.now + wait,
            trouble=str(error),
            busy_until=clock.now + asked if isinstance(error, BusyHubError) else 0.0,
            asked_at=clock.now,
        )
    return Asked(newest=newest, asked_at=clock.now)


def folder_fingerprint(source: Source, settings: Settings) -> str:
    """`files-` and a digest over name, size and times of the files that an entry means.

    Raises:
        FetchError: the folder is not there, or nothing of it is meant.
    """
    listing, choice = choose_in_folder(source, settings)
    state = []
    for path in choice.paths:
        facts = (listing.folder / path).stat()
        # The time of the last change of a file's entry: a copy can bring an old time of its content along.
        state.append([path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns])
    return f"files-{digest_value(state)}"


def folder_differs(source: Source, raw: Dataset, settings: Settings) -> bool:
    """Whether a folder's files are perhaps others than its snapshot's: by name, size or a later change.

    Raises:
        FetchError: as above.
    """
    listing, choice = choose_in_folder(source, settings)
    stored = {file.path: file.bytes for file in raw.manifest.files}
    for path in choice.paths:
        facts = (listing.folder / path).stat()
        if stored.get(path) != facts.st_size:
            return True
        if datetime.fromtimestamp(facts.st_ctime, raw.manifest.created.tzinfo) > raw.manifest.created:
            return True
    # A snapshot may have more files: those that an earlier form of the entry asked for.
    listed = {path for paths in raw.manifest.facts.get("files", {}).values() for path in paths}
    return bool(listed - set(choice.paths))
