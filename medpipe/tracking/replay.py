"""Sends a spool to MLflow, each step once, however often either side is interrupted.

What was sent is asked of MLflow itself, once when a replay begins; there is no state beside the spool that
could disagree with it. A metric is skipped where its run already has that name at that step. Sending a
line a second time because an answer got lost is harmless: MLflow takes a metric of the same name, step,
time and value as the one it has.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from medpipe.tracking import checkpoints
from medpipe.tracking.logged import LoggedSteps, ask
from medpipe.tracking.runs import RunStatus, StageRuns, finish_stage
from medpipe.tracking.spool import Event, SpoolError, read_events
from medpipe.tracking.store import TrackingError, client, talking_to
from medpipe.tracking.worker import Worker

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from medpipe.settings import Settings

BATCH = 1000
"""Metrics in one request, MLflow's limit."""


class SpoolReplay:
    """Follows one stage's spool and fills the stage's runs in MLflow.

    No method raises because of MLflow: what went wrong stands in `last_error`, and the next call goes on
    where the last one failed.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Path,
        runs: StageRuns | Callable[[], StageRuns],
        *,
        run_folder: Path | None = None,
        last_step: int | None = None,
    ) -> None:
        """Prepares a replay; nothing is read or sent yet.

        Args:
            settings: the settings.
            spool: the spool of the stage; it may not exist yet.
            runs: the stage's runs, or the call that begins them (`lambda: begin_stage(…)`), which is then
                repeated until MLflow answers.
            run_folder: folder that the checkpoints' paths are relative to; the spool's if None.
            last_step: events of later steps are left out: the curriculum left the run that wrote the spool
                there, and goes on in another. All are sent if None.
        """
        self._settings = settings
        self._spool = spool
        self._folder = run_folder or spool.parent
        self._last_step = last_step
        self._begin = runs if callable(runs) else None
        self.runs: StageRuns | None = None if callable(runs) else runs
        """The stage's runs once MLflow has answered."""
        self.last_error: str | None = None
        """What the newest failure was, without credentials; None once all is well again."""
        self.sent = 0
        """Metrics sent by this object."""
        self.models: dict[str, str] = {}
        """Model id in MLflow of each checkpoint by its name."""
        self._mlflow: MlflowClient | None = None
        self._logged: dict[str, LoggedSteps] = {}
        self._inode = -1
        self._offset = 0
        self._last_time: float | None = None
        self._uploads: deque[tuple[str, Path]] = deque()
        self._lock = threading.Lock()

    @property
    def pending(self) -> int:
        """Events that MLflow does not have yet, checkpoints not uploaded yet included."""
        offset = self._offset if self._is_same_file() else 0
        waiting = sum(self._counts(event) for event in read_events(self._spool, after=offset))
        return len(self._uploads) + waiting

    def poll(self) -> bool:
        """Sends what is new.

        With a server that does not answer this takes as long as MLflow's own retries (tens of seconds).

        Returns:
            Whether MLflow now has everything.
        """
        with self._lock:
            try:
                with talking_to(self._settings.tracking_uri, passing=(SpoolError,)):
                    self._send_all()
            except (TrackingError, SpoolError) as error:
                self.last_error = str(error)
                self._logged = {}  # An answer may have got lost; MLflow is asked again what it has.
                return False
            self.last_error = None
            return True

    def _send_all(self) -> None:
        if self.runs is None and self._begin is not None:
            self.runs = self._begin()
        if self._mlflow is None:
            self._mlflow = client(self._settings)
        runs, mlflow = self.runs, self._mlflow
        assert runs is not None  # noqa: S101
        if not self._is_same_file():
            # A resumed trainer has replaced the spool: the steps it repeats are in MLflow already.
            self._inode, self._offset = _stat(self._spool)[0], 0
        if not self._logged:
            self._logged = ask(mlflow, runs)
        self._send_metrics(mlflow, runs)
        while self._uploads:
            checkpoints.upload(mlflow, self._uploads[0][0], folder=self._uploads[0][1])
            self._uploads.popleft()

    def _is_same_file(self) -> bool:
        inode, size = _stat(self._spool)
        return inode == self._inode and size >= self._offset

    def _counts(self, event: Event) -> bool:
        return self._last_step is None or event.step <= self._last_step

    def _send_metrics(self, mlflow: MlflowClient, runs: StageRuns) -> None:
        batches: dict[str, list[Metric]] = {runs.parent_run_id: [], runs.stage_run_id: []}
        offset = self._offset
        for event in read_events(self._spool, after=self._offset):
            if not self._counts(event):
                offset = event.end
                continue
            model_id = self._open_checkpoint(mlflow, runs, event) if event.kind == "checkpoint" else None
            fresh = {run_id: self._new_metrics(event, run_id) for run_id in batches}
            if any(len(batches[run_id]) + len(fresh[run_id]) > BATCH for run_id in batches):
                self._flush(mlflow, batches, offset)
            for run_id, metrics in fresh.items():
                batches[run_id] += _with_model(metrics, model_id if run_id == runs.stage_run_id else None)
            offset = event.end
            self._last_time = event.time
        self._flush(mlflow, batches, offset)

    def _flush(self, mlflow: MlflowClient, batches: dict[str, list[Metric]], offset: int) -> None:
        for run_id, metrics in batches.items():
            for start in range(0, len(metrics), BATCH):
                mlflow.log_batch(run_id, metrics=metrics[start : start + BATCH])
            self.sent += len(metrics)
            metrics.clear()
        self._offset = offset

    def _new_metrics(self, event: Event, run_id: str) -> list[Metric]:
        from mlflow.entities import Metric

        values = dict(event.values)
        if event.kind == "metrics":
            values.setdefault("train/tokens", float(event.tokens))
        logged = self._logged[run_id]
        return [
            Metric(key, value, int(event.time * 1000), event.step)
            for key, value in values.items()
            if logged.add(key, event.step)
        ]

    def _open_checkpoint(self, mlflow: MlflowClient, runs: StageRuns, event: Event) -> str | None:
        folder = self._folder / (event.path or "")
        if not checkpoints.is_whole(folder):
            return None  # The trainer keeps only some checkpoints; this one's metrics are still worth a line.
        model_id = str(checkpoints.open_model(mlflow, runs, event, folder=folder).model_id)
        self.models[event.name or folder.name] = model_id
        if all(model_id != waiting for waiting, _ in self._uploads):
            self._uploads.append((model_id, folder))
        return model_id

    @contextlib.contextmanager
    def following(
        self, *, interval_s: float = 2.0, drain_s: float = 30.0, finish: bool = True
    ) -> Iterator[SpoolReplay]:
        """Sends new events from a thread while the block runs, and the rest when it ends.

        Args:
            interval_s: seconds between two looks at the spool; longer while MLflow does not answer.
            drain_s: seconds that leaving the block may take at most.
            finish: also end the runs: FINISHED, KILLED on an interrupt, FAILED on any other error.

        Yields:
            The replay itself.
        """
        worker = Worker(self.poll, interval_s=interval_s)
        worker.start()
        status: RunStatus = "FINISHED"
        try:
            yield self
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            worker.stop(drain_s, last_call=(lambda: self.finish(status)) if finish else None)

    def finish(self, status: RunStatus) -> bool:
        """Ends the runs at the time of the last event; returns whether MLflow took it."""
        if self.runs is None:
            return False
        try:
            finish_stage(self._settings, self.runs, status=status, end_time=self._last_time)
        except TrackingError as error:
            self.last_error = str(error)
            return False
        return True


def _stat(path: Path) -> tuple[int, int]:
    """Inode and size in bytes; (-1, 0) where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return -1, 0
    return status.st_ino, status.st_size


def _with_model(metrics: list[Metric], model_id: str | None) -> list[Metric]:
    from mlflow.entities import Metric

    if model_id is None:
        return metrics
    return [Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id) for m in metrics]
