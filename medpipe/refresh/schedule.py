"""The weekly refresh: a floor under the sensor, for whatever it did not see."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from medpipe.catalog.source import Source
from medpipe.refresh.jobs import UNFINISHED, automatic_refresh, raw_config
from medpipe.settings import Settings, SettingsError

SCHEDULE = "weekly_refresh"


def build_weekly_refresh(sources: Sequence[Source], *, settings: Settings) -> dg.ScheduleDefinition:
    """Asks for newer revisions of the chosen sources by the clock, and makes again what changed.

    Raises:
        SettingsError: `MEDPIPE_REFRESH_CRON` is no cron expression, or `MEDPIPE_REFRESH_SOURCES` names a
            source that is not enabled.
    """
    from dagster._core.storage.tags import SCHEDULE_NAME_TAG
    from dagster._utils.schedules import is_valid_cron_schedule

    asked = settings.refresh
    if not is_valid_cron_schedule(asked.cron):
        raise SettingsError(
            f"MEDPIPE_REFRESH_CRON is {asked.cron!r}, which is no cron expression; give five fields (minute, "
            "hour, day, month, weekday) such as '0 3 * * 1', or unset it"
        )
    chosen = asked.chosen(tuple(source.id for source in sources))
    statuses = dg.DefaultScheduleStatus

    @dg.schedule(
        name=SCHEDULE,
        job=automatic_refresh,
        cron_schedule=asked.cron,
        execution_timezone=asked.timezone,
        default_status=statuses.RUNNING if asked.automatic else statuses.STOPPED,
        description=(
            f"Newer revisions of {'all' if len(chosen) == len(sources) else len(chosen)} enabled sources by "
            f"the clock ('{asked.cron}', {asked.timezone}), whatever the sensor saw; the rest is reused."
        ),
    )
    def weekly_refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        moment = context.scheduled_execution_time
        if asked.is_quiet(moment):
            return dg.SkipReason(
                f"{moment.isoformat()} lies in the quiet hours {asked.quiet_hours}; move "
                "MEDPIPE_REFRESH_CRON or MEDPIPE_REFRESH_QUIET_HOURS"
            )
        # Another refresh at work may be of one source only: this one is requested beside it, where they
        # meet one waits for the other. Skipped is only a week whose predecessor has not ended.
        own = dg.RunsFilter(tags={SCHEDULE_NAME_TAG: SCHEDULE}, statuses=UNFINISHED)
        if (before := context.instance.get_runs(own, limit=1)) != []:
            return dg.SkipReason(f"the one of the week before is still at work (run {before[0].run_id})")
        return dg.RunRequest(run_key=moment.isoformat(), run_config=raw_config(chosen, refresh=True))

    return weekly_refresh
