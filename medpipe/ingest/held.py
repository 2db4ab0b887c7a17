"""Revisions that a person must look at before anything is made of them, and what was accepted.

A held revision lies whole in the lake beside the current one; `HEAD` and `sources.lock` stay where they are,
so whatever reads the source goes on with the revision before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from medpipe.catalog.source import Source
from medpipe.ingest.errors import FetchError
from medpipe.ingest.first_rows import changed_columns
from medpipe.ingest.revisions import is_revision, lock_commit, locked_commit
from medpipe.lake.dataset import Dataset, find_current, set_current
from medpipe.lake.files import write_json_atomically
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Manifest, read_manifest
from medpipe.lake.shared_files import refresh_file, remove, share

ROOM = "raw"
_HELD, _ACCEPTED = "held.json", "accepted.json"


class HeldRevision(BaseModel):
    """A revision that waits for a person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    revision: str
    """The commit, or the name of a folder's state."""
    current: str
    """The revision that is read meanwhile."""
    reasons: tuple[str, ...]
    """What changed, in words."""
    since: str
    """When it was held back; ISO 8601, UTC."""

    @property
    def message(self) -> str:
        """What changed, what is read meanwhile, and how to accept it."""
        return (
            f"{self.source}: revision {self.revision} is held back: {'; '.join(self.reasons)}. Everything "
            f"goes on with {self.current}. If the change is right: `medpipe sources accept {self.source} "
            f"--revision {self.revision}`, or materialise raw/{self.source} with accept_revision: "
            f"{self.revision}"
        )


def read_held(lake: Lake, source_id: str) -> HeldRevision | None:
    """The revision of a source that waits for a person; None if there is none.

    Raises:
        FetchError: the note of it cannot be read.
    """
    path = lake.raw(source_id) / _HELD
    refresh_file(lake, path)
    try:
        return HeldRevision.model_validate(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise FetchError(f"{path} cannot be read ({error}); delete it, then refresh {source_id}") from None


def accepted(lake: Lake, source_id: str) -> list[dict[str, Any]]:
    """What was accepted of a source: `revision`, `over`, `reasons`, `at`, `by`; oldest first.

    Raises:
        FetchError: the list cannot be read.
    """
    path = lake.raw(source_id) / _ACCEPTED
    refresh_file(lake, path)
    try:
        return list(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return []
    except orjson.JSONDecodeError as error:
        raise FetchError(f"{path} cannot be read ({error}); restore it or delete it") from None


def settle(
    source: Source, lake: Lake, found: Dataset, *, max_shrink: float, is_newest: bool
) -> HeldRevision | None:
    """Makes a revision current, or holds it back.

    Args:
        source: the catalog entry.
        lake: where the revision lies.
        found: the revision.
        max_shrink: share of its bytes that a revision may lose.
        is_newest: the publisher was asked; what was held back before is past where it is another one.

    Returns:
        None if it is current now; else why it is not.
    """
    before = find_current(lake, ROOM, source.id)
    known = {each["revision"] for each in accepted(lake, source.id)}
    reasons: list[str] = []
    if before is not None and before.digest != found.digest and found.digest not in known:
        reasons = differences(source, before, found, max_shrink=max_shrink)
    if before is None or not reasons:
        _make_current(source, lake, found)
        if is_newest or before is None or before.digest != found.digest:
            _forget_held(lake, source.id)
        return None
    present = read_held(lake, source.id)
    if present is not None and (present.revision, present.current) == (found.digest, before.digest):
        return present
    held = HeldRevision(
        source=source.id,
        revision=found.digest,
        current=before.digest,
        reasons=tuple(reasons),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_json_atomically(lake.raw(source.id) / _HELD, held.model_dump(mode="json"))
    share(lake, lake.raw(source.id) / _HELD)
    return held


def differences(source: Source, before: Dataset, after: Dataset, *, max_shrink: float) -> list[str]:
    """Why a person should look at a revision before it is used, in words; empty if nobody must.

    Size and columns are compared only where the catalog entry asks for the same files as before: what a
    person changed in the entry is no news to that person.
    """
    reasons = []
    if before.manifest.recipe.config == after.manifest.recipe.config:
        old, new = _chosen_bytes(before.manifest), _chosen_bytes(after.manifest)
        if old and (lost := 1 - new / old) > max_shrink:
            reasons.append(
                f"it has {new:,} bytes instead of {old:,}, {lost:.0%} less (MEDPIPE_REFRESH_MAX_SHRINK "
                f"allows {max_shrink:.0%})"
            )
        reasons += changed_columns(source, before, after)
    # A snapshot of an earlier version of medpipe says nothing of licences.
    stated, states = (dataset.manifest.facts.get("licence") or {} for dataset in (before, after))
    for place, where in (("card", "its publisher's card"), ("catalog", "the catalog")):
        if place in stated.keys() & states.keys() and stated[place] != states[place]:
            reasons.append(
                f"{where} states the licence {states[place] or 'none'} instead of {stated[place] or 'none'}"
            )
    return reasons


def accept(
    source: Source, lake: Lake, *, by: str, revision: str | None = None, now: datetime | None = None
) -> str | None:
    """Accepts the revision that is held back, or one by name before it is fetched; recorded in the lake.

    Args:
        source: the catalog entry.
        lake: the lake.
        by: who says so, for the record.
        revision: the revision that is meant; the held one if None.
        now: the time of the record; the present if None.

    Returns:
        The revision; None if none is held back and none was named.

    Raises:
        FetchError: what was named can be no revision, so accepting it would never have an effect.
    """
    if revision is not None and not is_revision(revision):
        raise FetchError(
            f"{revision!r} is no revision of {source.id}: give the whole commit (40 characters), or the "
            "whole name of a folder's state, as `medpipe sources held` shows it"
        )
    held = read_held(lake, source.id)
    if revision is None and held is None:
        return None
    named = revision or (held.revision if held else "")
    is_held = held is not None and held.revision == named
    entry = {
        "revision": named,
        "over": held.current if held and is_held else None,
        "reasons": list(held.reasons) if held and is_held else [],
        "at": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "by": by,
    }
    write_json_atomically(lake.raw(source.id) / _ACCEPTED, [*accepted(lake, source.id), entry])
    share(lake, lake.raw(source.id) / _ACCEPTED)
    if is_held:
        folder = lake.dataset(ROOM, source.id, digest=named)
        _make_current(source, lake, Dataset(folder, read_manifest(folder)))
        _forget_held(lake, source.id)
    return named


def _make_current(source: Source, lake: Lake, dataset: Dataset) -> None:
    set_current(lake, dataset)
    if dataset.manifest.facts.get("origin") != "hub":
        return
    place = {"repository": str(source.repository), "revision": source.revision}
    if locked_commit(lake, **place) != dataset.digest:
        lock_commit(lake, **place, commit=dataset.digest)


def _forget_held(lake: Lake, source_id: str) -> None:
    remove(lake, lake.raw(source_id) / _HELD)


def _chosen_bytes(manifest: Manifest) -> int:
    facts = manifest.facts
    named = {path for paths in facts.get("files", {}).values() for path in paths}
    named |= {path for each in facts.get("resolved", []) for path in each["files"]}
    return sum(file.bytes for file in manifest.files if file.path in named)


def card_licence(card: Path | None) -> str | None:
    """The licence that the front matter of a data set's README states; None if it states none."""
    if card is None:
        return None
    from huggingface_hub.repocard import metadata_load

    try:
        front = metadata_load(card)
    except (ValueError, OSError):
        return None
    return licence_words((front or {}).get("license"))


def licence_words(stated: object) -> str | None:
    """One or several licence names as one string."""
    names = stated if isinstance(stated, list) else [stated]
    return ", ".join(str(name) for name in names if name) or None
