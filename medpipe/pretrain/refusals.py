"""What the machine refuses a trainer, in plain words: memory, a place on the disk, the process itself."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

from medpipe.lake.files import DiskFullError, naming_a_full_disk
from medpipe.lake.manifest import has_all_files
from medpipe.pretrain.run_folder import CHECKPOINTS

_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
_LESS_MEMORY = (
    "lower micro_batch_sequences in the plan (the stage stays the same, its result is equal up to rounding) "
    "or sequence_length (another stage), or use a machine with more memory; `medpipe plan check FILE "
    "--measure 5` states the peak"
)


def in_plain_words(error: BaseException, run_folder: Path) -> str | None:
    """The message for an error that the machine is the reason of; None for every other error.

    Args:
        error: what ended the trainer. Memory that ran out is a MemoryError, torch's OutOfMemoryError, its
            RuntimeError of the CPU allocator, or the operating system's ENOMEM.
        run_folder: what was written to.
    """
    if isinstance(error, DiskFullError):
        return error.strerror
    if _is_out_of_memory(error):
        first = (str(error).strip().splitlines() or [""])[0]
        said = f" ({first[:200]})" if first else ""
        return f"memory ran out{said}; {_LESS_MEMORY}. {where_it_goes_on(run_folder)}"
    try:
        with naming_a_full_disk(run_folder):
            raise error
    except DiskFullError as full:
        return full.strerror
    except BaseException:
        return None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error).lower() for part in _MEMORY)


def killed_in_words(run_folder: Path, return_code: int | None) -> str:
    """The message for a trainer that ended without a word.

    Args:
        run_folder: where it trained.
        return_code: of its process, the negative signal number as in `subprocess`; None if unknown, and 1
            where torchrun stands between.
    """
    number = -return_code if return_code is not None and return_code < 0 else None
    if number not in (None, signal.SIGKILL):
        name = signal.Signals(number).name
        return f"the trainer was ended by {name} before it could say why. {where_it_goes_on(run_folder)}"
    return (
        "the trainer was killed by the system (SIGKILL), most likely because memory ran out: "
        f"{_LESS_MEMORY}. {where_it_goes_on(run_folder)}"
    )


def where_it_goes_on(run_folder: Path) -> str:
    """The newest checkpoint of a run folder that has all its files, for a person; no byte is read."""
    written = [path for path in (run_folder / CHECKPOINTS).glob("*") if path.name.isdigit()]
    if not written:
        return "No checkpoint of this stage was written yet: run again to begin the stage again"
    whole = [path.name for path in written if has_all_files(path)]
    if not whole:
        return (
            f"No checkpoint in {run_folder / CHECKPOINTS} has all its files: bring one back, or remove "
            f"{run_folder} to train the stage from its start"
        )
    return f"Checkpoint {max(whole)} has all its files: run again to go on from step {int(max(whole))}"
