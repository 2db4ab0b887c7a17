"""The names of the arms and what a command line says of them; imports nothing."""

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
    """From the plan's first weights: the data of all four stages in all of them, under one cosine."""
    NO_REPLAY = "no-replay"
    """The curriculum without replayed stages and without general text: shows what replay is good for."""


SMALLEST_GAIN = 0.01
"""Bits per byte worth having, unless a person says otherwise. With 0 a curriculum that brings nothing could
never be told so: an interval around zero lies on both sides of it."""

_IN_WORDS = {
    ArmName.CURRICULUM: "anneal and converge as the plan has them",
    ArmName.CONTROL: "the same decay on the stable stage's data",
    ArmName.SHUFFLED: "the union of anneal's and converge's data, shuffled",
    ArmName.COSINE: "from {weights}: the data of all stages shuffled, one cosine over the whole run",
    ArmName.NO_REPLAY: "the curriculum without replay and general text",
}


def first_weights(*, is_published: bool) -> str:
    """What a run from the plan's own beginning begins with."""
    return "the published weights" if is_published else "fresh weights"


def arm_in_words(name: ArmName, *, is_published: bool) -> str:
    """What an arm is, for a person.

    Args:
        name: the arm.
        is_published: whether the plan begins with a published model.
    """
    return _IN_WORDS[name].format(weights=first_weights(is_published=is_published))
