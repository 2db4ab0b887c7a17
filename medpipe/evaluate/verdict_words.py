"""The verdict in sentences: what was asked, what came out, and what it must not be taken for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medpipe.evaluate.arm_names import ArmName, first_weights
from medpipe.evaluate.paired import LEVEL, Interval
from medpipe.evaluate.verdict import GENERAL, MEDICAL, Answer, Comparison

_FEW = 30
"""Documents below which an interval is called wide."""

_UNCHANGED = "against the same decay on unchanged data"
_QUESTIONS = {
    (ArmName.CONTROL, MEDICAL): (
        f"Medical text, {_UNCHANGED}",
        "The curriculum helped: its data, not the falling rate, brought the gain.",
        "The curriculum did not help: {why}.",
    ),
    (ArmName.CONTROL, GENERAL): (
        f"General text, {_UNCHANGED}",
        "The curriculum did not forget: {why}.",
        "The curriculum forgot: general text is worse than after the same decay on unchanged data.",
    ),
    (ArmName.SHUFFLED, MEDICAL): (
        "Medical text, against the same data without order",
        "The order of the last two stages helped.",
        "The order of the last two stages did not help: {why}.",
    ),
    (ArmName.COSINE, MEDICAL): (
        "Medical text, against everything concatenated under one cosine from {weights}",
        "Stages and their rate helped over all data at once.",
        "Stages and their rate did not help: {why}.",
    ),
    (ArmName.NO_REPLAY, GENERAL): (
        "General text, against the curriculum without replay",
        "Replay helped to keep general text.",
        "Replay did not help to keep general text: {why}.",
    ),
}
"""Question, yes and no, by the arm that is compared with and the kind of text."""
_ONE_SEED = "Undecided: with one seed nothing is known of the run's own luck; take --seeds 3."
_SINGLE = "Undecided: a single held-out document has no interval; hold out more."


def headlines(comparisons: Sequence[Comparison], *, is_published: bool = False) -> list[tuple[str, str]]:
    """The questions that were there before the figures, each with its answer.

    Args:
        comparisons: all of them.
        is_published: whether the plan begins with a published model.
    """
    weights = first_weights(is_published=is_published)
    found = {(each.other, each.text): each for each in comparisons}
    return [
        (question.format(weights=weights), _answer(found[key], yes, no))
        for key, (question, yes, no) in _QUESTIONS.items()
        if key in found
    ]


def _answer(comparison: Comparison, yes: str, no: str) -> str:
    gain = comparison.gain
    match comparison.answer:
        case Answer.HELPED:
            small = f"the loss, if any, is smaller than {comparison.smallest_gain:g}"
            said = yes.format(why=small if gain.low <= 0 else "it is better there, too")
        case Answer.NOT:
            small = f"the gain, if any, is smaller than {comparison.smallest_gain:g}"
            said = no.format(why=small if gain.high >= 0 else "the other arm does better")
        case _ if not gain.covers_seeds:
            said = _ONE_SEED
        case _ if gain.documents < 2:
            said = _SINGLE
        case _:
            said = f"Undecided: the interval lies on both sides of {comparison.threshold:g}."
            if comparison.threshold == 0 and not comparison.is_forgetting:
                said += " Without --smallest-gain no gain and a tiny one cannot be told apart."
    return f"{said} Gain {interval_in_words(gain)} bits per byte ({gain.documents} documents)."


def answer_in_words(comparison: Comparison) -> str:
    """The answer as a table has it."""
    if not comparison.is_forgetting:
        return comparison.answer.value
    return {Answer.HELPED: "did not forget", Answer.NOT: "forgot"}.get(comparison.answer, "undecided")


def interval_in_words(interval: Interval) -> str:
    """Such as `+0.0312 [+0.0101, +0.0523]`; without the brackets where there is no interval."""
    if not math.isfinite(interval.low):
        return f"{interval.estimate:+.4f}"
    return f"{interval.estimate:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


def range_in_words(low: float | None, high: float | None) -> str:
    """Such as `+0.0101 to +0.0523`; None is an end that lies nowhere."""
    return "none" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def limits(
    comparisons: Sequence[Comparison],
    *,
    seeds: int,
    parameters: int,
    tokens: int,
    documents: dict[str, int],
    earlier: str | None = None,
) -> list[str]:
    """What the figures must not be taken for.

    Args:
        comparisons: all of them.
        seeds: runs of each arm.
        parameters: of the model.
        tokens: token positions behind the curriculum's last checkpoint.
        documents: held-out documents by domain.
        earlier: the run that trained what the arms stand on, and its snapshot, if that is not the plan's own.
    """
    few = [f"{domain} ({count})" for domain, count in documents.items() if count < _FEW]
    decided = [each for each in comparisons if each.answer is not Answer.UNDECIDED]
    standing = sum(each.stands for each in decided)
    expected = len(comparisons) * (1 - LEVEL)
    trunk = [
        f"**Trunk.** What the arms stand on was trained by {earlier}: its data and budgets are that run's, "
        "not those that this plan names before the decay."
    ]
    return [
        *(trunk if earlier else []),
        f"**Size.** A model of {parameters:,} parameters after {tokens:,} token positions. What helps at one "
        "size may not at another; nothing here says how it extrapolates.",
        f"**Seeds.** {seeds} of each arm. Arms that go on from the stable checkpoint share it: the intervals "
        "hold the luck of the data order behind it, not that of another stable checkpoint. The cosine arm's "
        "seeds are whole runs."
        + (" With so few, Student's t makes the intervals wide." if 1 < seeds < 5 else ""),
        f"**Held-out text.** {sum(documents.values()):,} documents. "
        + (
            f"Few of {', '.join(few)}: expect wide intervals there. "
            if few
            else "No domain has fewer than thirty. "
        )
        + "Documents are taken as independent; texts of one book or one publisher are alike, so that the "
        "true uncertainty is somewhat larger. Where a few documents gain much more than the others, or hold "
        "most of the bytes, the intervals are too narrow: simulated with such a skew they held the truth in "
        "88 to 93 of 100 cases, and missed it mostly by an upper end that was too low.",
        f"**Many questions.** {len(comparisons)} intervals at {LEVEL:.0%}: about {expected:.1f} of them "
        "would exclude zero by chance alone if no arm differed from another. "
        f"{len(decided)} decide something by themselves, {standing} of these also at the level at which "
        "all hold together (Bonferroni; column 'all together'). Trust those, and the questions above that "
        "were asked before; take the rest as hints.",
        "**Measure.** Bits per byte of held-out text: how well text is predicted, not what a model knows or "
        "whether an answer is right.",
    ]
