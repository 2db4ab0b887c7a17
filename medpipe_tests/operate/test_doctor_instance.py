"""What `medpipe doctor` says of a daemon that fell silent and of sensors that wait for a time ahead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._daemon.types import DaemonHeartbeat

from medpipe.lake.layout import HEAD, Lake
from medpipe.operate.dev import prepare
from medpipe.operate.doctor.examine import examine
from medpipe.operate.doctor.lake import heads
from medpipe.operate.doctor.runs import missing_daemon
from medpipe.operate.doctor.sensors import sensors_ahead
from medpipe.operate.instance import open_instance
from medpipe.settings import Settings

DAY = 86_400.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as instance:
        yield instance


def switch_on_sensor(instance: dg.DagsterInstance, *, looked: float) -> None:
    """A running sensor whose last look was begun and done at a time."""
    repository = RemoteRepositoryOrigin(
        GrpcServerCodeLocationOrigin(host="localhost", port=9), "__repository__"
    )
    instance.add_instigator_state(
        InstigatorState(
            RemoteInstigatorOrigin(repository, "new_revisions"),
            InstigatorType.SENSOR,
            InstigatorStatus.RUNNING,
            SensorInstigatorData(
                last_tick_timestamp=looked, last_tick_start_timestamp=looked, cursor="kept", min_interval=3600
            ),
        )
    )


def beat(instance: dg.DagsterInstance, *, seconds_ago: float) -> None:
    for kind in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - seconds_ago, kind, "one"))


def test_a_daemon_that_fell_silent_minutes_ago_is_missed(instance: dg.DagsterInstance) -> None:
    switch_on_sensor(instance, looked=time.time())
    beat(instance, seconds_ago=20)
    assert list(missing_daemon(instance)) == []
    beat(instance, seconds_ago=150)
    (found,) = missing_daemon(instance)
    assert "sensor" in found.thing and "1 schedules and sensors wait for it" in found.problem
    beat(instance, seconds_ago=-DAY)
    (found,) = missing_daemon(instance)
    assert "of a time ahead" in found.problem and "1 schedules and sensors wait for it" in found.problem


def data_of(instance: dg.DagsterInstance) -> SensorInstigatorData:
    (state,) = instance.all_instigator_state()
    assert isinstance(state.instigator_data, SensorInstigatorData)
    return state.instigator_data


def test_a_sensor_that_waits_for_a_time_ahead_looks_again(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    switch_on_sensor(instance, looked=time.time() + 3 * DAY)
    beat(instance, seconds_ago=0)
    (found,) = examine(settings, repair=True)
    assert (found.kind, found.thing, found.outcome) == ("sensor", "new_revisions", "repaired")
    assert "3.0 days from now" in found.problem
    data = data_of(instance)
    assert (data.last_tick_start_timestamp or 0) <= time.time() >= (data.last_tick_timestamp or 0)
    assert data.cursor == "kept" and data.min_interval == 3600
    assert list(sensors_ahead(instance)) == []


def test_the_next_start_of_the_servers_ends_the_wait(
    instance: dg.DagsterInstance, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_on_sensor(instance, looked=time.time() + DAY)
    monkeypatch.setenv("MEDPIPE_HOME", str(settings.home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    prepare(with_sample=False)
    assert (data_of(instance).last_tick_start_timestamp or 0) <= time.time()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a" * 6000, b"", b"a\x00b"])
def test_a_head_that_holds_anything_is_a_finding(tmp_path: Path, content: bytes) -> None:
    lake = Lake(tmp_path)
    head = lake.room("normalized", "guide") / HEAD
    head.parent.mkdir(parents=True)
    head.write_bytes(content)
    (found,) = heads(lake)
    assert "which is no data set" in found.problem and len(found.problem) < 200
    assert found.repair is not None and found.repair() is None and not head.exists()
