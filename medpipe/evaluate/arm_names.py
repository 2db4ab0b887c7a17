"""The names of the arms; imports nothing, so that a command line can list them."""

from __future__ import annotations

from enum import StrEnum


class ArmName(StrEnum):
    """What is compared."""

    CURRICULUM = "curriculum"
    """The plan's own anneal and converge."""
    CONTROL = "control"
    """The same decay on unchanged data, the stable stage's: takes the learning rate's part away."""
    SHUFFLED = "shuffled"
    """The union of anneal's and converge's data in both stages: takes the order away."""
    COSINE = "cosine"
    """From scratch: the data of all four stages in all of them, under one cosine."""
    NO_REPLAY = "no-replay"
    """The curriculum without replayed stages and without general text: shows what replay is good for."""


IN_WORDS = {
    ArmName.CURRICULUM: "anneal and converge as the plan has them",
    ArmName.CONTROL: "the same decay on the stable stage's data",
    ArmName.SHUFFLED: "the union of anneal's and converge's data, shuffled",
    ArmName.COSINE: "from scratch: the data of all stages shuffled, one cosine over the whole run",
    ArmName.NO_REPLAY: "the curriculum without replay and general text",
}
