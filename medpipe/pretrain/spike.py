"""The rule by which an optimizer step is left out: loss or gradient far above those of late.

After the step-skipping AdamW of OLMo-core: a value more than some standard deviations above the mean of a
rolling window. A value that was far above enters the window like any other, so a loss that rises for good
is accepted after a while, and training does not stand still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from medpipe.pretrain.plan_parts import SpikeRule


@dataclass
class SpikeWindow:
    """Losses and gradient norms of the newest steps, oldest first."""

    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)

    def reason(self, loss: float, gradient_norm: float, rule: SpikeRule) -> str | None:
        """What makes a step a spike; None where it is none, or too few steps are known.

        Args:
            loss: of the step.
            gradient_norm: of the step, before clipping.
            rule: window and distance.
        """
        for name, known, value in (
            ("loss", self.losses, loss),
            ("gradient norm", self.gradient_norms, gradient_norm),
        ):
            if len(known) < rule.least_steps:
                continue
            mean = math.fsum(known) / len(known)
            deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in known) / (len(known) - 1))
            if value > mean + rule.deviations * deviation:
                return (
                    f"{name} {value:.4g} is more than {rule.deviations:g} standard deviations "
                    f"({deviation:.4g}) above the mean of {len(known)} steps, {mean:.4g}"
                )
        return None

    def add(self, loss: float, gradient_norm: float, rule: SpikeRule) -> None:
        """Notes a step and forgets the oldest beyond the window."""
        self.losses = [*self.losses, loss][-rule.window :]
        self.gradient_norms = [*self.gradient_norms, gradient_norm][-rule.window :]
