"""A trainer that kills itself at one exact place: `python -m medpipe.pretrain.kill_points POINT OPTION...`.

POINT is `step:N` (after optimizer step N), `saving:N` (while the checkpoint of step N is being written) or
`border` (the stage is trained and measured, its result is not written yet); the options are those of
`medpipe.pretrain.worker`. Nothing but SIGKILL is simulated: no handler runs, nothing is flushed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from medpipe.lake.manifest import Manifest

STEP, SAVING, BORDER = "step", "saving", "border"


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Makes this process kill itself at a point.

    Raises:
        ValueError: there is no such point.
    """
    kind, _, number = point.partition(":")
    if kind == STEP:
        _kill_after_step(int(number))
    elif kind == SAVING:
        _kill_while_saving(int(number))
    elif kind == BORDER:
        _kill_at_the_border()
    else:
        raise ValueError(f"no kill point '{point}'; say {STEP}:N, {SAVING}:N or {BORDER}")


def _kill_after_step(step: int) -> None:
    from medpipe.pretrain.training import StepResult, Training

    original = Training.train_step

    def train_step(self: Training) -> StepResult:
        result = original(self)
        if self.step == step:
            _kill()
        return result

    Training.train_step = train_step  # type: ignore[method-assign]


def _kill_while_saving(step: int) -> None:
    from medpipe.lake import manifest
    from medpipe.pretrain import checkpoint

    original = manifest.write_manifest

    def write_manifest(folder: Path, made: Manifest) -> None:
        if made.facts["step"] == step:
            _kill()
        original(folder, made)

    setattr(checkpoint, "write_manifest", write_manifest)  # noqa: B010 - it is imported there


def _kill_at_the_border() -> None:
    from medpipe.pretrain import stage_run

    def write_result(*_: Any) -> None:
        _kill()

    setattr(stage_run, "write_result", write_result)  # noqa: B010 - it is imported there


if __name__ == "__main__":
    from medpipe.pretrain.worker import main

    arm(sys.argv[1])
    raise SystemExit(main(sys.argv[2:]))
