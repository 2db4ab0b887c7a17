"""The newest point of a spool, shown every so often while a stage trains."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from medpipe.tracking.spool import Event, newest_event

INTERVAL_S = 10.0
MOST_POINTS = 100
"""About as many points a stage: each is a row in the database of whoever shows it."""
_LOSS = "train/loss"
_LEAVING_S = 10.0
_SHOWN = {
    "loss": _LOSS,
    "learning rate": "train/learning_rate",
    "tokens per second": "train/tokens_per_second",
}


def shown_values(point: Event) -> dict[str, int | float]:
    """What is shown of a point: step and tokens, and of loss, rate and speed those that are finite."""
    named = {name: point.values.get(metric, math.nan) for name, metric in _SHOWN.items()}
    known = {name: value for name, value in named.items() if math.isfinite(value)}
    return {"step": point.step, "tokens": point.tokens, **known}


class LiveCurve:
    """What is shown of one stage, and why it stopped if it did."""

    def __init__(self, spool: Path, show: Callable[[Event], None], *, steps: int) -> None:
        """Prepares the curve; the spool may not exist yet.

        Args:
            spool: the spool of the stage.
            show: takes a point, from another thread; what it raises ends the curve, not the training.
            steps: optimizer steps of the stage.
        """
        self._spool, self._show = spool, show
        self._stride = -(-steps // MOST_POINTS)
        self._shown: int | None = None
        self.error: str | None = None
        """Why nothing is shown any more; None if all is well."""

    def look(self, *, is_last: bool = False) -> None:
        """Shows the newest point if it is far enough from the one before, at the end if it is a new one."""
        try:
            event = newest_event(self._spool, having=_LOSS)
            if event is None or self.error is not None:
                return
            if self._shown is None or event.step - self._shown >= (1 if is_last else self._stride):
                self._show(event)
                self._shown = event.step
        except Exception as error:  # whatever the viewer's database says: training goes on
            self.error = f"{type(error).__name__}: {error}"

    @contextlib.contextmanager
    def following(self, *, interval_s: float | None = None) -> Iterator[LiveCurve]:
        """Looks at the spool from a thread while the block runs, and once more when it ends.

        Args:
            interval_s: seconds between two looks; `INTERVAL_S` if None.

        Yields:
            The curve itself.
        """
        stopping = threading.Event()
        pause = INTERVAL_S if interval_s is None else interval_s

        def follow() -> None:
            while not stopping.wait(pause):
                self.look()
            self.look(is_last=True)

        thread = threading.Thread(target=follow, name="live-curve", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stopping.set()
            thread.join(_LEAVING_S)
