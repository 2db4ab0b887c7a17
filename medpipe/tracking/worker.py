"""A thread that repeats a call until it is told to stop, and then until the call has succeeded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LONGEST_PAUSE_S = 60.0
_LAST_PAUSE_S = 0.5


class Worker(threading.Thread):
    """Polls at an interval, and less often while polling fails.

    A daemon: a call that hangs does not keep the process alive.
    """

    def __init__(self, poll: Callable[[], bool], *, interval_s: float) -> None:
        """Prepares the thread.

        Args:
            poll: returns whether all is done for now; must not raise.
            interval_s: seconds between two polls.
        """
        super().__init__(name="mlflow-replay", daemon=True)
        self._poll = poll
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._last_call: Callable[[], bool] | None = None
        self._complete = False

    def run(self) -> None:
        """The thread's work."""
        pause = self._interval_s
        while not self._stopping.is_set():
            pause = self._interval_s if self._poll() else min(2 * pause, _LONGEST_PAUSE_S)
            self._stopping.wait(pause)
        while time.monotonic() < self._deadline:
            if self._poll() and (self._last_call is None or self._last_call()):
                self._complete = True
                return
            time.sleep(min(self._interval_s, _LAST_PAUSE_S))

    def stop(self, timeout_s: float, *, last_call: Callable[[], bool] | None = None) -> bool:
        """Lets the thread poll until that succeeds, and waits for it.

        Args:
            timeout_s: seconds to wait at most.
            last_call: called after the last poll, until it returns True.

        Returns:
            Whether the last poll and the last call succeeded in time.
        """
        self._last_call = last_call
        self._deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self.join(timeout_s)
        return self._complete
