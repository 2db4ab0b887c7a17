"""What the trainer process does: reads its options, trains one stage, says how that ended."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from medpipe.lake.layout import Lake
from medpipe.lake.manifest import ManifestError
from medpipe.pretrain.compile import CompiledPlan, compile_plan
from medpipe.pretrain.finite import NonFiniteError
from medpipe.pretrain.guard import RunLockedError, die_with_parent
from medpipe.pretrain.integrity import ChangedInputError
from medpipe.pretrain.launch import rank_variables
from medpipe.pretrain.plan import STAGES, PlanError, load_plan
from medpipe.pretrain.published_model import PublishedModelError
from medpipe.pretrain.refusals import in_plain_words
from medpipe.pretrain.result import ResultError, stage_run_folder, write_failure
from medpipe.pretrain.stop import Progress, Stopped, StopRequest
from medpipe.tokens.shard import ShardError
from medpipe.tokens.snapshot import CorpusSnapshot, SnapshotError, read_snapshot
from medpipe.tracking.spool import SpoolError

EXIT_STOPPED = 75
"""The run can be taken up again (EX_TEMPFAIL)."""


def train_stage(arguments: list[str] | None, stop: StopRequest) -> int:
    """Trains the stage that the options name.

    Args:
        arguments: the command line; None for that of this process.
        stop: that the process's signals set.

    Returns:
        The exit status that `medpipe.pretrain.worker` documents.
    """
    parser = argparse.ArgumentParser(prog="python -m medpipe.pretrain.worker")
    parser.add_argument("--lake", type=Path, required=True, help="root folder of the lake")
    parser.add_argument("--plan", required=True, help="name of a built-in plan or path of a plan file")
    parser.add_argument("--snapshot", required=True, help="name of the corpus snapshot")
    parser.add_argument("--stage", required=True, choices=STAGES)
    options = parser.parse_args(arguments)
    if rank_variables().local_rank is not None:
        die_with_parent()
    with _reporting(options.stage) as progress:
        lake = Lake(options.lake)
        try:
            snapshot = read_snapshot(lake, options.snapshot)
            compiled = compile_plan(load_plan(options.plan), snapshot, lake)
            folder = stage_run_folder(lake, compiled, options.stage)
        except (PlanError, ManifestError, SnapshotError) as error:
            progress(f"error: {error}")
            return 1
        return _train(compiled, options.stage, snapshot, lake, folder, progress, stop)


def _train(
    compiled: CompiledPlan,
    stage: str,
    snapshot: CorpusSnapshot,
    lake: Lake,
    folder: Path,
    progress: Progress,
    stop: StopRequest,
) -> int:
    """Runs the stage; leaves the reason in the run folder where it does not come to its end."""
    progress("loading torch")
    # Imported here so that a mistake in plan or options is answered before torch is loaded.
    from medpipe.pretrain.checkpoint import CheckpointError
    from medpipe.pretrain.origin import ParentMissingError
    from medpipe.pretrain.ranks import joined_ranks
    from medpipe.pretrain.stage_run import StageRun
    from medpipe.pretrain.zero import StrategyError

    expected = (
        ChangedInputError,
        CheckpointError,
        ManifestError,
        NonFiniteError,
        ParentMissingError,
        PublishedModelError,
        ResultError,
        ShardError,
        SpoolError,
        StrategyError,
    )
    try:
        with joined_ranks() as ranks:
            StageRun(
                compiled=compiled,
                stage=compiled.stage(stage),
                lake=lake,
                snapshot=snapshot,
                progress=progress,
                stop=stop,
                ranks=ranks,
            ).run()
    except Stopped as stopped:
        progress(str(stopped))
        write_failure(folder, str(stopped))
        return EXIT_STOPPED
    except RunLockedError as error:  # the run folder's notes are of the one that trains there
        progress(f"error: {error}")
        return 1
    except Exception as error:
        reason = str(error) if isinstance(error, expected) else in_plain_words(error, folder)
        with contextlib.suppress(OSError):
            write_failure(folder, reason or f"unexpected {type(error).__name__}: {error}")
        if reason is None:
            raise
        progress(f"error: {reason}")
        return 1
    return 0


@contextlib.contextmanager
def _reporting(stage: str) -> Iterator[Progress]:
    """Progress lines go to Dagster where it started this process, else to stderr.

    Of several processes the first one tells the news; the others only what went wrong.
    """
    if rank_variables().rank != 0:
        yield lambda text: _complain(stage, text)
    elif "DAGSTER_PIPES_CONTEXT" in os.environ:
        from dagster_pipes import open_dagster_pipes

        with open_dagster_pipes() as pipes:
            yield lambda text: pipes.log.info(f"{stage}: {text}")
    else:
        yield lambda text: print(f"{stage}: {text}", file=sys.stderr, flush=True)


def _complain(stage: str, text: str) -> None:
    if text.startswith("error:"):
        print(f"{stage}, rank {rank_variables().rank}: {text}", file=sys.stderr, flush=True)
