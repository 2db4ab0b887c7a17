"""Command line and environment of the trainer process; imports neither torch nor dagster."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from medpipe.lake.process import this_process
from medpipe.pretrain.guard import LAUNCHER_VARIABLE, PARENT_VARIABLE
from medpipe.pretrain.result import StageResult, is_current, read_result, stage_run_folder, trainer_failure

__all__ = [
    "StageResult",
    "is_current",
    "read_result",
    "stage_run_folder",
    "trainer_command",
    "trainer_environment",
    "trainer_failure",
]


@dataclass(frozen=True)
class RankVariables:
    """What torchrun's variables say of this process."""

    rank: int
    size: int
    local_rank: int | None
    """Among those of this machine; None where torchrun did not start it."""


def rank_variables() -> RankVariables:
    """Reads torchrun's variables; alone, a process is the first of one."""
    local = os.environ.get("LOCAL_RANK")
    return RankVariables(
        rank=int(os.environ.get("RANK", "0")),
        size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=None if local is None else int(local),
    )


def trainer_command(
    *, lake: Path, plan: str | Path, snapshot: str, stage: str, processes: int = 1
) -> list[str]:
    """Command that trains one stage under the guard.

    Args:
        lake: root folder of the lake.
        plan: name of a built-in plan or path of a plan file.
        snapshot: name of the corpus snapshot.
        stage: name of the stage.
        processes: that train together on this machine, started by torchrun.
    """
    together = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    trainer = [
        sys.executable,
        *([*together, "--nproc-per-node", str(processes)] if processes > 1 else []),
        *("-m", "medpipe.pretrain.worker"),
    ]
    guard = [sys.executable, "-m", "medpipe.pretrain.guard", "--"]
    return [
        *guard,
        *trainer,
        *("--lake", str(lake)),
        *("--plan", str(plan)),
        *("--snapshot", snapshot),
        *("--stage", stage),
    ]


def trainer_environment() -> dict[str, str]:
    """Variables to set in the trainer's environment, beside those it inherits.

    Call it in the process that starts the trainer: the guard looks whether that one is still there.
    """
    return {
        PARENT_VARIABLE: str(os.getpid()),
        LAUNCHER_VARIABLE: str(this_process()),
        "HF_HUB_OFFLINE": "1",
        # Processes of one machine talk over its loopback interface.
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        # A thread that waits for the others by spinning costs a factor of five where somebody else needs
        # a core; sleeping costs nothing on a quiet machine.
        "OMP_WAIT_POLICY": "PASSIVE",
        # glibc gives large blocks back to the kernel, which clears every page anew at each step: a quarter
        # of a step's time at the demo's size, measured. Kept, they are there for the next step; results do
        # not change.
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
        "MALLOC_TOP_PAD_": str(64 << 20),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
