"""Measured points for tests."""

from __future__ import annotations

from pathlib import Path

from medpipe.evaluate.measured import MeasuredPoint


def point(
    stage: str,
    step: int,
    bits: dict[str, float],
    *,
    end: bool = True,
    measured_on: str | None = "m",
    checkpoint: Path | None = None,
) -> MeasuredPoint:
    """A point after `step` steps of 1,000 tokens."""
    return MeasuredPoint(
        stage=stage,
        step=step,
        tokens=1000 * step,
        is_stage_end=end,
        bits_per_byte=bits,
        measured_on=measured_on,
        checkpoint=checkpoint,
    )


def checkpoint(folder: Path, digest: str = "d" * 32) -> Path:
    """A folder that passes for a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "manifest.json").write_text(f'{{"digest": "{digest}"}}')
    return folder
