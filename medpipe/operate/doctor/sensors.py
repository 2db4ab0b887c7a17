"""Sensors that do not look because the clock stood ahead when they last did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData

from medpipe.operate.doctor.finding import Finding

_TIMES = (
    "last_tick_timestamp",
    "last_tick_start_timestamp",
    "last_sensor_start_timestamp",
    "last_tick_success_timestamp",
)
_SLACK_SECONDS = 5.0


def sensors_ahead(instance: DagsterInstance) -> Iterator[Finding]:
    """Sensors whose last look is said to lie in the future: Dagster waits until that time has come."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        latest = _latest(state)
        if latest > time.time() + _SLACK_SECONDS:
            yield Finding(
                kind="sensor",
                thing=state.name,
                problem=f"it looked last {_span(latest - time.time())} from now, when the clock stood ahead, "
                "and does not look again before that",
                fix="take now for that time",
                repair=partial(_take_now, instance, state),
            )


def _latest(state: InstigatorState) -> float:
    data = state.instigator_data
    if not isinstance(data, SensorInstigatorData):
        return 0.0
    return max(getattr(data, name) or 0.0 for name in _TIMES)


def _span(seconds: float) -> str:
    days, hours = seconds / 86_400, seconds / 3_600
    return f"{days:.1f} days" if days >= 1 else f"{hours:.1f} hours"


def _take_now(instance: DagsterInstance, found: InstigatorState) -> str | None:
    # As it is by now: a daemon may have kept a newer cursor since it was found.
    state = instance.get_instigator_state(found.instigator_origin_id, found.selector_id) or found
    now, data = time.time(), state.instigator_data
    assert isinstance(data, SensorInstigatorData)  # noqa: S101 - as it was found
    times = {name: min(value, now) for name in _TIMES if (value := getattr(data, name)) is not None}
    instance.update_instigator_state(state.with_data(data._replace(**times)))
    return None
