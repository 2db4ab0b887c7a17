"""The refresh sensor: asks what is new, and requests a run for the sources that changed and no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg

from medpipe.catalog.source import Source
from medpipe.lake.layout import Lake
from medpipe.refresh.jobs import automatic_refresh, keys_behind, raw_config, reasons, refresh_at_work
from medpipe.refresh.watch import Seen, Watch, look, read_watch
from medpipe.settings import Settings

SENSOR = "new_revisions"


def build_refresh_sensor(
    sources: Sequence[Source], *, settings: Settings, lake: Lake, clock: Callable[[], float] = time.time
) -> dg.SensorDefinition:
    """The sensor over the enabled sources that `MEDPIPE_REFRESH_SOURCES` names.

    Raises:
        SettingsError: the variable names a source that is not enabled.
    """
    chosen = settings.refresh.chosen(tuple(source.id for source in sources))
    watched = [source for source in sources if source.id in chosen]

    @dg.sensor(
        name=SENSOR,
        job=automatic_refresh,
        minimum_interval_seconds=settings.refresh.interval_minutes * 60,
        default_status=default_sensor_status(settings),
        description=(
            "Asks for each source's newest revision, one small request a repository, and refreshes those "
            "that changed. A source that was never fetched waits for a person or the weekly refresh, and so "
            "do the others: the corpus is made of all enabled sources."
        ),
    )
    def new_revisions(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        graph = _asset_graph(context)
        watch = read_watch(context.cursor)
        if (running := refresh_at_work(context.instance, graph)) is not None:
            return _skip(f"a refresh is at work (run {running}); the next tick looks again", watch)
        if settings.refresh.is_quiet(datetime.fromtimestamp(clock(), UTC)):
            hours = f"{settings.refresh.quiet_hours} {settings.refresh.timezone}"
            return _skip(f"quiet hours ({hours}); change MEDPIPE_REFRESH_QUIET_HOURS to end them", watch)
        seen = look(watched, watch, lake=lake, settings=settings, clock=clock)
        for place in seen.new_troubles:
            context.log.warning(f"{place}: {seen.troubles[place]}")
        if not seen.wanted:
            return _skip(_nothing(seen), seen.watch)
        if unfetched := _missing(sources, seen, lake):
            reason = (
                f"{', '.join(seen.wanted)} changed, but {', '.join(unfetched)} was never fetched and "
                "normalised, and the corpus is made of all enabled sources; materialise it, or "
                "`medpipe sources disable` it"
            )
            # A new source in the catalog would else end all refreshes without a word outside the UI.
            context.log.warning(reason)
            return _skip(reason, seen.watch)
        context.log.info(f"new: {reasons({**seen.follow, **seen.fetch})}")
        request = dg.RunRequest(
            run_key=seen.run_key,
            run_config=raw_config(sorted(seen.fetch), refresh=True),
            asset_selection=keys_behind(seen.wanted, graph),
            tags={"medpipe/changed_sources": ",".join(seen.wanted)[:200]},
        )
        return dg.SensorResult(run_requests=[request], cursor=seen.requested().model_dump_json())

    return new_revisions


def default_sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    """Whether a sensor is on where nobody has switched it."""
    statuses = dg.DefaultSensorStatus
    return statuses.RUNNING if settings.refresh.automatic else statuses.STOPPED


def _asset_graph(context: dg.SensorEvaluationContext) -> dg.AssetGraph:
    repository = context.repository_def
    if repository is None:
        raise dg.DagsterInvariantViolationError("the sensor needs the code location that it belongs to")
    return repository.asset_graph


def _missing(sources: Sequence[Source], seen: Seen, lake: Lake) -> list[str]:
    from medpipe.lake.dataset import find_current

    return [
        source.id
        for source in sources
        if source.id not in seen.wanted and find_current(lake, "normalized", source.id) is None
    ]


def _nothing(seen: Seen) -> str:
    parts = ["no source has a newer revision"]
    if seen.never:
        parts.append(f"never fetched, so not watched: {', '.join(seen.never)}")
    if seen.troubles:
        parts.append(f"not asked or not answered: {reasons(seen.troubles)}")
    return "; ".join(parts)


def _skip(message: str, watch: Watch) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(message), cursor=watch.model_dump_json())
