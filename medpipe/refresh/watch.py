"""Which sources should be refreshed now, as a pure step from what was known to what is known.

The state between two steps is small, so that it fits into a sensor's cursor. A source is wanted once for each
state of its publisher; and once more, without asking the publisher, where a revision is in the lake and the
corpus was not made of it (a person accepted it, or another source stopped that run).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from medpipe.catalog.source import Source
from medpipe.ingest.errors import FetchError
from medpipe.ingest.newest import Asked, Clock, ask, folder_differs, is_folder, place_of
from medpipe.lake.dataset import find_current
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.settings import Settings

TICK_SECONDS = 30.0
"""No further question is asked later than this in a tick; Dagster ends a tick after 60 s."""


class Requested(BaseModel):
    """What a refresh of a source was requested for last."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    newest: str | None = None
    """The publisher's state that was to be fetched; None if none was."""
    lake: str | None = None
    """The revision in the lake that the corpus was to be made of; None if none was. Apart from the other: a
    revision that cannot be fetched and one that cannot be used would be asked for in turns for ever."""
    times: int = 1
    """Requests so far: a publisher may go back to what was requested before."""


class Watch(BaseModel):
    """What a sensor remembers from tick to tick."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    asked: dict[str, Asked] = {}
    """By place: a repository with its revision, or a folder."""
    requested: dict[str, Requested] = {}
    """By source id."""


def read_watch(cursor: str | None) -> Watch:
    """The state in a cursor; an empty one where there is none, or where nobody can read it any more."""
    try:
        return Watch.model_validate_json(cursor) if cursor else Watch()
    except ValidationError:
        return Watch()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a tick found."""

    watch: Watch
    """To be remembered if nothing is requested now."""
    fetch: dict[str, str] = field(default_factory=dict)
    """Newest state of the sources that must be asked for again, by id."""
    follow: dict[str, str] = field(default_factory=dict)
    """Revision in the lake of the sources whose records are behind it, by id."""
    never: tuple[str, ...] = ()
    """Sources without any revision: a person fetches them first."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Why a publisher could not be asked, with the fix, by place."""
    new_troubles: tuple[str, ...] = ()
    """Places whose trouble was not known before."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Ids of the sources to refresh, sorted."""
        return tuple(sorted({**self.fetch, **self.follow}))

    def requested(self) -> Watch:
        """To be remembered if all that is wanted is requested now."""
        before = self.watch.requested
        states = {name: {"newest": state} for name, state in self.fetch.items()}
        states |= {name: {"lake": revision} for name, revision in self.follow.items()}
        now = {
            name: before[name].model_copy(update={**state, "times": before[name].times + 1})
            if name in before
            else Requested.model_validate(state)
            for name, state in states.items()
        }
        return self.watch.model_copy(update={"requested": {**before, **now}})

    @property
    def run_key(self) -> str:
        """Names the request by the new states, so that the same one is never made twice."""
        now = self.requested().requested
        return f"refresh-{digest_value([[name, now[name].model_dump()] for name in self.wanted])}"


def look(
    sources: Sequence[Source], watch: Watch, *, lake: Lake, settings: Settings, clock: Callable[[], float]
) -> Seen:
    """Asks for the newest state of each source and compares it with the lake.

    Args:
        sources: the sources that are watched.
        watch: what was known.
        lake: what was fetched.
        settings: hub, credential and interval.
        clock: seconds since the epoch.
    """
    started = clock()
    interval = settings.refresh.interval_minutes * 60.0
    places = {source.id: place for source in sources if (place := place_of(source, settings)) is not None}
    raw = {source.id: find_current(lake, "raw", source.id) for source in sources}
    asked: dict[str, Asked] = {}
    # But for what was noted while the clock stood ahead.
    busy_until = max((a.busy_until for a in watch.asked.values() if a.asked_at <= started), default=0.0)
    # Where time is short those that were asked longest ago come first.
    for source in sorted(sources, key=lambda each: _last_asked(watch, places.get(each.id))):
        place = places.get(source.id)
        if place is None or place in asked or raw[source.id] is None:
            continue
        before, now = watch.asked.get(place, Asked()), clock()
        is_local = is_folder(source, settings)
        if now - started > TICK_SECONDS or (now < busy_until and not is_local):
            asked[place] = before
            continue
        asked[place] = ask(source, before, settings=settings, clock=Clock(now=now, interval=interval))
        if asked[place].busy_until:
            # In this tick no other one is asked, whether the hub said how long or not.
            busy_until = max(asked[place].busy_until, started + 2 * TICK_SECONDS)
    requested = {
        name: each if (dataset := raw.get(name)) is None or dataset.digest == each.lake else _moved_on(each)
        for name, each in watch.requested.items()
    }
    known = watch.model_copy(update={"asked": asked, "requested": requested})
    fetch, follow = {}, {}
    for source in sources:
        dataset = raw[source.id]
        if dataset is None:
            continue
        last = requested.get(source.id, Requested())
        newest = asked[places[source.id]].newest if source.id in places else None
        if newest is not None and last.newest != newest and _is_newer(source, newest, lake, settings):
            fetch[source.id] = newest
        elif last.lake != dataset.digest and _is_behind(source, dataset.digest, lake):
            follow[source.id] = dataset.digest
    troubles = {place: each.trouble for place, each in asked.items() if each.trouble is not None}
    old = {place for place, each in watch.asked.items() if each.trouble is not None}
    return Seen(
        watch=known,
        fetch=fetch,
        follow=follow,
        never=tuple(sorted(name for name, dataset in raw.items() if dataset is None)),
        troubles=troubles,
        new_troubles=tuple(sorted(set(troubles) - old)),
    )


def _last_asked(watch: Watch, place: str | None) -> float:
    return 0.0 if place is None else watch.asked.get(place, Asked()).asked_at


def _moved_on(request: Requested) -> Requested:
    """A request without the revision in the lake, which is another one by now and may come back."""
    return request.model_copy(update={"lake": None})


def _is_newer(source: Source, newest: str, lake: Lake, settings: Settings) -> bool:
    raw = find_current(lake, "raw", source.id)
    if raw is None:
        return False
    if is_folder(source, settings):
        try:
            return folder_differs(source, raw, settings)
        except (FetchError, OSError):
            return False
    # Not what `sources.lock` says: that moves for all sources of a repository when one of them is refreshed.
    return newest != raw.digest


def _is_behind(source: Source, revision: str, lake: Lake) -> bool:
    """Whether the records, or the corpus, were made of another revision than the one in the lake."""
    normalized = find_current(lake, "normalized", source.id)
    if normalized is None:
        return False
    if normalized.manifest.recipe.inputs.get("raw") != revision:
        return True
    pinned = _pinned_revisions(lake).get(source.id)
    return pinned is not None and pinned != revision


def _pinned_revisions(lake: Lake) -> Mapping[str, str]:
    from medpipe.tokens.snapshot import SnapshotError, read_snapshot

    try:
        return read_snapshot(lake).revisions
    except SnapshotError:
        return {}
