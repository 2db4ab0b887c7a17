"""What the machine is doing, under the names that MLflow shows as system metrics.

MLflow's own monitor talks to the server from a thread of its own and loses what it cannot send; these values
go through the spool like any other metric.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

INTERVAL_S = 10.0
_FIRST_S = 1.0
_MEGABYTE = 1e6


class SystemMonitor:
    """Looks at processor, memory, disk, network and NVIDIA devices every so often."""

    def __init__(self, disk: Path, *, interval_s: float = INTERVAL_S) -> None:
        """Prepares the first look, a second from now; devices need the package nvidia-ml-py.

        Args:
            disk: a folder on the disk to watch.
            interval_s: seconds between two looks.
        """
        self._disk, self._interval_s = disk, interval_s
        self._due = time.monotonic() + min(interval_s, _FIRST_S)
        self._process = psutil.Process()
        self._network = psutil.net_io_counters()
        self._devices = _Devices()
        psutil.cpu_percent()  # the first answer is always 0: it is about the time since the call before

    def sample(self) -> dict[str, float]:
        """Values by metric name, percentages from 0 to 100; none where the interval is not over yet."""
        now = time.monotonic()
        if now < self._due:
            return {}
        self._due = now + self._interval_s
        memory = psutil.virtual_memory()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MEGABYTE,
            "system_memory_usage_percentage": 100 * memory.used / memory.total,
            "trainer_memory_usage_megabytes": self._process.memory_info().rss / _MEGABYTE,
            **self._network_use(),
            **self._devices.sample(),
        }
        with contextlib.suppress(OSError):
            disk = psutil.disk_usage(str(self._disk))
            values |= {
                "disk_usage_percentage": disk.percent,
                "disk_usage_megabytes": disk.used / _MEGABYTE,
                "disk_available_megabytes": disk.free / _MEGABYTE,
            }
        return {f"system/{name}": round(float(value), 1) for name, value in values.items()}

    def _network_use(self) -> dict[str, float]:
        """Megabytes since the monitor began, all interfaces together."""
        now = psutil.net_io_counters()
        if now is None or self._network is None:
            return {}
        return {
            "network_receive_megabytes": (now.bytes_recv - self._network.bytes_recv) / _MEGABYTE,
            "network_transmit_megabytes": (now.bytes_sent - self._network.bytes_sent) / _MEGABYTE,
        }


class _Devices:
    """NVIDIA devices by NVML; none where the package or the driver is missing."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        with contextlib.suppress(Exception):  # no package, no driver, no right: training goes on without
            import pynvml

            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(place) for place in range(count)]
            self._nvml = pynvml

    def sample(self) -> dict[str, float]:
        """Memory, use and power of each device, as far as it tells."""
        return {
            f"gpu_{place}_{name}": value
            for place, handle in enumerate(self._handles)
            for name, value in self._device(handle)
        }

    def _device(self, handle: Any) -> Iterator[tuple[str, float]]:
        with contextlib.suppress(self._nvml.NVMLError):
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            yield "memory_usage_megabytes", memory.used / _MEGABYTE
            yield "memory_usage_percentage", 100 * memory.used / memory.total
        with contextlib.suppress(self._nvml.NVMLError):
            yield "utilization_percentage", self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu
        with contextlib.suppress(self._nvml.NVMLError):
            yield "power_usage_watts", self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000
