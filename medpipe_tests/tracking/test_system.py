"""What the machine does, under MLflow's names, no more often than asked."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from medpipe.tracking.spool import Spool, read_events
from medpipe.tracking.system import SystemMonitor


def test_the_names_are_those_that_mlflow_shows(tmp_path: Path) -> None:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    theirs = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        theirs |= {f"system/{name}" for name in monitor.aggregate_metrics()}
    values = SystemMonitor(tmp_path, interval_s=0).sample()
    assert theirs <= set(values)
    assert values["system/trainer_memory_usage_megabytes"] > 1
    for name in ("cpu_utilization", "system_memory_usage", "disk_usage"):
        assert 0 <= values[f"system/{name}_percentage"] <= 100
    assert values["system/disk_available_megabytes"] > 0


def test_it_looks_no_more_often_than_asked(tmp_path: Path) -> None:
    monitor = SystemMonitor(tmp_path, interval_s=3600)
    assert monitor.sample() == {}, "the first look comes after a second"
    monitor._due = 0
    assert monitor.sample() and monitor.sample() == {}


def test_a_disk_that_is_gone_costs_its_values_only(tmp_path: Path) -> None:
    values = SystemMonitor(tmp_path / "gone", interval_s=0).sample()
    assert "system/cpu_utilization_percentage" in values
    assert "system/disk_usage_megabytes" not in values


def test_devices_are_named_as_mlflow_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for NVML: there is no device here. It refuses to tell its power, as some do."""

    class NVMLError(Exception):
        pass

    def refuse(_: object) -> float:
        raise NVMLError

    nvml = types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda place: place,
        nvmlDeviceGetMemoryInfo=lambda _: types.SimpleNamespace(used=4e9, total=16e9),
        nvmlDeviceGetUtilizationRates=lambda _: types.SimpleNamespace(gpu=87),
        nvmlDeviceGetPowerUsage=refuse,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    values = SystemMonitor(tmp_path, interval_s=0).sample()
    assert values["system/gpu_1_utilization_percentage"] == 87
    assert values["system/gpu_0_memory_usage_megabytes"] == 4000
    assert values["system/gpu_0_memory_usage_percentage"] == 25
    assert not [name for name in values if name.endswith("watts")]


def test_the_spool_takes_them(tmp_path: Path) -> None:
    values = SystemMonitor(tmp_path, interval_s=0).sample()
    with Spool(tmp_path / "metrics.jsonl") as spool:
        spool.metrics(values, step=1, tokens=1)
    (event,) = read_events(tmp_path / "metrics.jsonl")
    assert event.values == values
