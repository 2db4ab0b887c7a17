"""Bits of every held-out window under a checkpoint, measured once and kept by the checkpoint's digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from medpipe.lake.dataset import find_reusable, publish
from medpipe.lake.layout import Lake
from medpipe.lake.manifest import Recipe, read_manifest
from medpipe.pretrain.compile import CompiledPlan
from medpipe.pretrain.curriculum import FinishedStage

if TYPE_CHECKING:
    from medpipe.pretrain.model import Compute
    from medpipe.tokens.snapshot import CorpusSnapshot

CODE_VERSION = "2"
"""Raised by hand whenever the same checkpoint would give other bits."""
ROOM, NAME = "evaluation", "window_bits"
WINDOWS = "windows.parquet"


def checkpoint_bits(
    finished: FinishedStage,
    compiled: CompiledPlan,
    *,
    snapshot: CorpusSnapshot,
    lake: Lake,
) -> pl.DataFrame:
    """Measures a stage's last checkpoint on the plan's held-out text, or reads what was measured before.

    Args:
        finished: the stage.
        compiled: the plan that says what is held out, and how long the windows of the model are.
        snapshot: the corpus it was compiled with.
        lake: where the text lies and the result goes.

    Returns:
        A row a window; columns `domain`, `lang`, `document`, `start`, `bytes`, `bits`.

    Raises:
        ManifestError: the checkpoint is gone.
        ShardError: a validation shard is damaged.
    """
    from medpipe.pretrain.model import device_and_precision

    compute = device_and_precision(compiled.plan)
    recipe = Recipe(
        inputs={"checkpoint": read_manifest(finished.checkpoint).digest},
        code_version=CODE_VERSION,
        config={
            "validation": compiled.validation_digest,
            "sequence_length": compiled.plan.sequence_length,
            "device": compute.device.type,
            "precision": compute.precision.value,
            "batch_sequences": _batch_sequences(compiled),
        },
    )
    name = (NAME, finished.run_folder.parent.name, finished.run_folder.name)
    known = find_reusable(lake, ROOM, *name, recipe=recipe)
    if known is None:
        windows = _measure(finished, compiled, compute, snapshot=snapshot, lake=lake)
        with publish(lake, ROOM, *name, recipe=recipe) as draft:
            windows.write_parquet(draft.path / WINDOWS)
            draft.rows = windows.height
        known = draft.dataset
    return pl.read_parquet(known.file(WINDOWS))


def _batch_sequences(compiled: CompiledPlan) -> int:
    return compiled.plan.micro_batch_sequences or compiled.plan.sequences_per_step


def _measure(
    finished: FinishedStage,
    compiled: CompiledPlan,
    compute: Compute,
    *,
    snapshot: CorpusSnapshot,
    lake: Lake,
) -> pl.DataFrame:
    import torch

    from medpipe.pretrain.held_out import measure_held_out
    from medpipe.pretrain.model import load_pretrained

    threads = torch.get_num_threads()
    if compiled.plan.threads is not None:
        torch.set_num_threads(compiled.plan.threads)
    try:
        measured = measure_held_out(
            load_pretrained(finished.checkpoint, attention=compute.attention).to(compute.device),
            compute,
            compiled=compiled,
            lake=lake,
            snapshot=snapshot,
            batch_sequences=_batch_sequences(compiled),
        )
        return measured.windows
    finally:
        torch.set_num_threads(threads)
