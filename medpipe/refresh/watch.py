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
from medpipe.ingest.newest import Asked, Clock, ask, folder_differs, place_of
from medpipe.lake.dataset import find_current
from medpipe.lake.digest import digest_value
from medpipe.lake.layout import Lake
from medpipe.settings import Settings

TICK_SECONDS = 30.0
"""No further question is asked later than this in a tick; Dagster ends a tick after 60 s."""


class Requested(BaseModel):
    """What a refresh of a source was requested for last."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target: str
    """The newest state, or `lake:` and a revision that lies in the lake."""
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
        targets = {**{name: f"lake:{revision}" for name, revision in self.follow.items()}, **self.fetch}
        now = {
            name: Requested(target=target, times=before[name].times + 1 if name in before else 1)
            for name, target in targets.items()
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
    busy = False
    # Those that were never asked, or were asked longest ago, come first where time is short.
    for source in sorted(sources, key=lambda each: places.get(each.id, "") in watch.asked):
        place = places.get(source.id)
        if place is None or place in asked or raw[source.id] is None:
            continue
        before = watch.asked.get(place, Asked())
        if busy or clock() - started > TICK_SECONDS:
            asked[place] = before
            continue
        now = clock()
        asked[place] = ask(source, before, settings=settings, clock=Clock(now=now, interval=interval))
        busy = asked[place].busy and asked[place].wait_until > now
    known = watch.model_copy(update={"asked": asked})
    fetch, follow = {}, {}
    for source in sources:
        dataset = raw[source.id]
        if dataset is None:
            continue
        before_request = watch.requested.get(source.id)
        last = None if before_request is None else before_request.target
        newest = asked[places[source.id]].newest if source.id in places else None
        if newest is not None and last != newest and _is_newer(source, newest, lake, settings):
            fetch[source.id] = newest
        elif last != f"lake:{dataset.digest}" and _is_behind(source, dataset.digest, lake):
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


def _is_newer(source: Source, newest: str, lake: Lake, settings: Settings) -> bool:
    raw = find_current(lake, "raw", source.id)
    if raw is None:
        return False
    if source.folder is not None or settings.hub is not None:
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
