"""The weekly refresh: one request a week, none in quiet hours or beside another refresh."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medpipe.refresh.schedule import SCHEDULE
from medpipe.settings import RefreshSettings
from medpipe_tests.refresh.corpus import Installation, make_installation

MONDAY = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)
"""03:00 of Monday in Shanghai."""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return make_installation(tmp_path_factory.mktemp("schedule"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def tick(installation: Installation, instance: dg.DagsterInstance, **refresh: Any) -> Any:
    repository = installation.definitions(refresh=RefreshSettings(**refresh)).get_repository_def()
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=MONDAY, repository_def=repository
    )
    return repository.get_schedule_def(SCHEDULE).evaluate_tick(context)


def test_all_sources_are_asked_for_newer_revisions(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    (request,) = tick(installation, instance).run_requests or []
    assert request.run_key == MONDAY.isoformat()
    assert {name: of["config"] for name, of in request.run_config["ops"].items()} == {
        "raw__web": {"refresh": True},
        "raw__guide": {"refresh": True},
    }
    (request,) = tick(installation, instance, sources="guide").run_requests or []
    assert set(request.run_config["ops"]) == {"raw__guide"}


def test_quiet_hours_are_kept_and_told(installation: Installation, instance: dg.DagsterInstance) -> None:
    found = tick(installation, instance, quiet_hours="02:00-04:00")
    assert not found.run_requests
    assert "lies in the quiet hours 02:00-04:00; move MEDPIPE_REFRESH_CRON" in found.skip_message


def test_no_week_is_dropped_for_another_refresh_but_for_its_own_predecessor(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    job = installation.definitions().resolve_job_def("automatic_refresh")
    at_work = dg.DagsterRunStatus.STARTED
    instance.create_run_for_job(job, status=at_work)  # as the sensor starts them, of some source
    assert len(tick(installation, instance).run_requests or []) == 1
    week_before = instance.create_run_for_job(job, status=at_work, tags={"dagster/schedule_name": SCHEDULE})
    found = tick(installation, instance)
    assert not found.run_requests and f"still at work (run {week_before.run_id})" in found.skip_message


def test_the_job_makes_everything_up_to_the_snapshot(installation: Installation) -> None:
    definitions = installation.definitions()
    keys = definitions.resolve_job_def("automatic_refresh").asset_layer.selected_asset_keys
    names = {key.to_user_string() for key in keys}
    assert {"raw/web", "normalized/guide", "corpus/documents", "snapshot"} <= names
    assert not [name for name in names if name.startswith("pretrain/")]


def test_the_clock_is_that_of_the_settings(tmp_path: Path, installation: Installation) -> None:
    asked = RefreshSettings(cron="30 4 * * *", timezone="Europe/Berlin")
    schedule = installation.definitions(refresh=asked).get_repository_def().get_schedule_def(SCHEDULE)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 4 * * *", "Europe/Berlin")
