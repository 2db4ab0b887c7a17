"""Starts servers, starts one that died again, and stops all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from medpipe.operate.keeper import end_descendants, reap_orphans
from medpipe.operate.server_log import ServerLog
from medpipe.operate.servers import ServerError, ServerSpec, is_open
from medpipe.pretrain.guard import PARENT_VARIABLE

NAME = "medpipe"
"""In the log: what the supervisor itself says."""
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_LOOK_AGAIN_S = 0.25
_REAP_EVERY_S = 5.0
_MOST_STARTS, _WITHIN_S = 5, 300.0
"""A server that dies more often than that has something that starting it again does not mend."""


class StoppedError(Exception):
    """Somebody asked to stop before everything was up."""


@dataclass
class Server:
    """A server and the process that it runs in now."""

    spec: ServerSpec
    process: subprocess.Popen[bytes]
    starts: deque[float] = field(default_factory=deque)
    """Monotonic times at which it was started again."""


class Supervisor:
    """The servers of one command."""

    def __init__(self, log: ServerLog, *, is_stopped: Callable[[], bool]) -> None:
        """Prepares it; nothing is started yet.

        Args:
            log: takes what all servers say.
            is_stopped: whether somebody has asked to stop.
        """
        self._log, self._is_stopped = log, is_stopped
        self.servers: list[Server] = []

    def start(self, specs: Sequence[ServerSpec]) -> None:
        """Starts servers in their order, and returns once all of them answer.

        Raises:
            ServerError: one ended at once, or did not answer in time.
            StoppedError: somebody asked to stop meanwhile.
        """
        for spec in specs:
            server = Server(spec, self._launch(spec))
            self.servers.append(server)
            if spec.is_needed:
                self._wait_until_open(server)
        for server in self.servers:
            self._wait_until_open(server)

    def watch(self) -> None:
        """Returns when somebody asks to stop; until then starts again what dies.

        Raises:
            ServerError: a server dies again and again.
        """
        reaped = time.monotonic()
        while not self._is_stopped():
            for server in self.servers:
                if server.process.poll() is not None:
                    self._again(server)
            if time.monotonic() - reaped > _REAP_EVERY_S:
                reaped = time.monotonic()
                reap_orphans([server.process.pid for server in self.servers])
            time.sleep(_LOOK_AGAIN_S)

    def stop(self) -> None:
        """Ends all servers, the last one first, and whatever they started."""
        for server in reversed(self.servers):
            server.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        while any(server.process.poll() is None for server in self.servers if not _is_code(server)):
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_AGAIN_S)
        # A code server that is asked to end waits for its runs, which may take days.
        end_descendants()
        for server in self.servers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()
        self.servers.clear()

    def _launch(self, spec: ServerSpec) -> subprocess.Popen[bytes]:
        guarded = [sys.executable, "-m", "medpipe.pretrain.guard", "--", *spec.command]
        inherited = {name: value for name, value in os.environ.items() if name not in spec.without}
        environment = {**inherited, **spec.env, PARENT_VARIABLE: str(os.getpid())}
        process = subprocess.Popen(
            guarded,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if process.stdout is not None:
            self._log.follow(spec.name, process.stdout)
        return process

    def _wait_until_open(self, server: Server) -> None:
        spec, deadline = server.spec, time.monotonic() + _START_SECONDS
        while spec.opens is not None and not is_open(spec.opens):
            if self._is_stopped():
                raise StoppedError
            if server.process.poll() is not None:
                raise ServerError(
                    f"{spec.name} ended with status {server.process.returncode}; its output is in "
                    f"{self._log.path}"
                )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{spec.name} did not answer within {_START_SECONDS:.0f} s; its output is in "
                    f"{self._log.path}"
                )
            time.sleep(_LOOK_AGAIN_S)

    def _again(self, server: Server) -> None:
        spec, now = server.spec, time.monotonic()
        status = server.process.returncode
        while server.starts and now - server.starts[0] > _WITHIN_S:
            server.starts.popleft()
        if len(server.starts) >= _MOST_STARTS:
            raise ServerError(
                f"{spec.name} ended {_MOST_STARTS + 1} times within {_WITHIN_S / 60:.0f} minutes, at last "
                f"with status {status}; its output is in {self._log.path}"
            )
        server.starts.append(now)
        self._log.say(NAME, f"{spec.name} ended with status {status}; it is started again")
        server.process = self._launch(spec)


def _is_code(server: Server) -> bool:
    return server.spec.name == "code"


@contextlib.contextmanager
def running(
    specs: Sequence[ServerSpec], log: ServerLog, *, is_stopped: Callable[[], bool]
) -> Iterator[Supervisor]:
    """Runs servers until the block is left; then none of them, nor anything they started, is left."""
    supervisor = Supervisor(log, is_stopped=is_stopped)
    try:
        supervisor.start(specs)
        yield supervisor
    finally:
        supervisor.stop()
