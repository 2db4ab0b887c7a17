"""One thing that is not as it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["trainer", "pool slot", "run", "data set", "daemon", "sensor", "mlflow run", "unreadable"]
Outcome = Literal["found", "repaired", "not repaired"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with one thing, and what mends it."""

    kind: Kind
    thing: str
    """Its name: a path, a run's id, a process."""
    problem: str
    fix: str
    """What `--repair` does, or what a person has to do where it does nothing."""
    repair: Callable[[], str | None] | None = None
    """Mends it, after looking again whether nobody alive works on it; returns why it did not, or None."""
    outcome: Outcome = "found"
    note: str = ""
    """Why it was not repaired."""

    @property
    def is_open(self) -> bool:
        """Whether it still has to be seen to."""
        return self.outcome != "repaired"
