"""A failed run goes to the log, and to a webhook if one is set: which step, why, and what to do."""

from __future__ import annotations

from typing import Any

import dagster as dg

from medpipe.console import asset_name, failure_reason
from medpipe.refresh.sensor import default_sensor_status
from medpipe.refresh.webhook import WebhookError, post
from medpipe.settings import Settings

SENSOR = "failed_runs"


def failure_facts(
    run: dg.DagsterRun, steps: list[dg.DagsterEvent], instance: dg.DagsterInstance, settings: Settings
) -> dict[str, Any]:
    """What is told of a failed run.

    Args:
        run: the run.
        steps: its step failures, oldest first.
        instance: where its events are.
        settings: for the address of the UI.

    Returns:
        `job`, `run`, `step` (an asset, None if it failed before its first step), `message`, `what_to_do`,
        `link`.
    """
    link = f"{settings.dagster_ui_url.rstrip('/')}/runs/{run.run_id}"
    refused = _refused_checks(run.run_id, instance)
    first = steps[0] if steps else None
    if refused:
        message = "; ".join(refused)
    else:
        message = "it failed before its first step" if first is None else failure_reason(first)
    return {
        "job": run.job_name,
        "run": run.run_id,
        "step": None if first is None else asset_name(first.step_key or ""),
        "message": message,
        "what_to_do": (
            f"Open {link}, mend what the message names, then 'Re-execute from failure'; what was finished is "
            "reused. If the message names nothing to mend, run `medpipe doctor`."
        ),
        "link": link,
    }


def _refused_checks(run_id: str, instance: dg.DagsterInstance) -> list[str]:
    """What blocking checks said that failed: the step's own error only counts them."""
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [log.dagster_event.asset_check_evaluation_data for log in logs if log.dagster_event]
    return [
        each.description or f"{each.asset_key.to_user_string()}: the check {each.check_name} failed"
        for each in found
        if each.blocking and not each.passed and each.severity is dg.AssetCheckSeverity.ERROR
    ]


def build_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor that tells of every failed run of the code location."""

    @dg.run_failure_sensor(
        name=SENSOR,
        default_status=default_sensor_status(settings),
        description=(
            "Writes every failed run to the daemon's log, with the step, the reason and what to do; and "
            "posts the same as JSON to the address in MEDPIPE_WEBHOOK_URL, if one is set."
        ),
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        steps = list(context.get_step_failure_events())
        facts = failure_facts(context.dagster_run, steps, context.instance, settings)
        where = f" at {facts['step']}" if facts["step"] else ""
        context.log.error(f"{facts['job']} failed{where}: {facts['message']} {facts['what_to_do']}")
        if settings.webhook_url is None:
            return
        try:
            post(settings.webhook_url, facts)
        except WebhookError as error:
            context.log.warning(str(error))

    return failed_runs
