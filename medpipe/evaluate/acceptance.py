"""What must hold before a checkpoint is registered as the best one."""

from __future__ import annotations

FINITE, COMPLETE, CURRENT, NOT_WORSE = "finite", "complete", "current_held_out_text", "not_worse"
CHECKS = {
    FINITE: "Bits per byte of the best checkpoint are finite.",
    COMPLETE: "Its files have the bytes that were written, and every held-out domain was measured.",
    CURRENT: "It was measured on the held-out text that the plan has now.",
    NOT_WORSE: "It is not worse than the version that bears the alias, by more than the tolerance, on the "
    "same windows.",
}
"""What is looked at before anything is registered."""
TOLERANCE = 0.005
"""Bits per byte by which a new version may be worse than the registered one, unless the person says else."""
