"""Writes checkpoints beside the training, which waits only while its tensors are copied."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from medpipe.pretrain.checkpoint import Contents, write_checkpoint
from medpipe.pretrain.training_state import TrainingState

OnWritten = Callable[[Path, TrainingState], None]


class CheckpointWriter:
    """One checkpoint at a time is on its way to the disk; the next one waits for it.

    A process that is killed meanwhile loses that one: it is resumed from the one before, to the same result.
    """

    def __init__(self, folder: Path, *, keep: int, on_written: OnWritten) -> None:
        """Starts the thread.

        Args:
            folder: the run's `checkpoints`.
            keep: how many of the newest stay.
            on_written: told of each checkpoint that is on the disk, in the thread of the caller of `submit`,
                `poll` and `wait`.
        """
        self._folder, self._keep, self._on_written = folder, keep, on_written
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: tuple[Future[Path], TrainingState] | None = None

    def submit(self, contents: Contents) -> None:
        """Writes a checkpoint as soon as the one before is written.

        Raises:
            DiskFullError: the one before could not be written; earlier ones are unchanged.
        """
        self.wait()
        future = self._pool.submit(write_checkpoint, self._folder, contents, keep=self._keep)
        self._pending = future, contents.state

    def poll(self) -> None:
        """Tells of a checkpoint that has been written meanwhile; does not wait.

        Raises:
            DiskFullError: it could not be written.
        """
        if self._pending is not None and self._pending[0].done():
            self.wait()

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
            DiskFullError: it could not be.
        """
        if self._pending is not None:
            (future, state), self._pending = self._pending, None
            self._on_written(future.result(), state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._pool.shutdown()
