"""What each genre of source may be used for.

Literature and encyclopedias are for pretraining and fine-tuning, exams and annotated records for fine-tuning
and evaluation, clinical records for what is done under control.

The principles warn, they forbid nothing: the entry's owner decides what `uses` says. What keeps clinical
records from being fetched is the gate (`gated`, `accept_terms`), which `selection` holds shut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from medpipe.catalog.selection import enable_command
from medpipe.catalog.source import Genre, Source, Status, Use


@dataclass(frozen=True)
class Principle:
    """What texts of one genre are good for."""

    allowed: tuple[Use, ...]
    """Uses without a reservation."""
    warned: Mapping[Use, str] = field(default_factory=dict)
    """The other uses, each with what is wrong with it."""
    controlled: bool = False
    """Whether every use needs the source to be under control, see `is_under_control`."""


_ANY_USE = Principle(tuple(Use))
_HELD_BACK = (Use.FINETUNING, Use.REWARD, Use.EVALUATION)

PRINCIPLES: Mapping[Genre, Principle] = MappingProxyType(
    {
        Genre.LITERATURE: _ANY_USE,
        Genre.ENCYCLOPEDIA: _ANY_USE,
        Genre.TEXTBOOK: _ANY_USE,
        Genre.GUIDELINE: _ANY_USE,
        Genre.KNOWLEDGE_BASE: _ANY_USE,
        Genre.WEB: _ANY_USE,
        Genre.NEWS: _ANY_USE,
        Genre.LAW: _ANY_USE,
        Genre.DIALOGUE: _ANY_USE,
        Genre.INSTRUCTION: _ANY_USE,
        Genre.PREFERENCE: Principle(
            (Use.REWARD, Use.EVALUATION),
            dict.fromkeys((Use.PRETRAINING, Use.FINETUNING), "every record has a worse answer"),
        ),
        Genre.EXAM: Principle(
            _HELD_BACK,
            {Use.PRETRAINING: "a model that has read exam questions can no longer be measured with them"},
        ),
        Genre.EXTRACTION: Principle(
            _HELD_BACK,
            {Use.PRETRAINING: "annotations are labels and offsets, no prose, and often test material"},
        ),
        Genre.CLINICAL_RECORD: Principle(tuple(Use), controlled=True),
    }
)
"""The principle of each genre; every use of it is either allowed or warned of."""


def is_under_control(source: Source) -> bool:
    """Whether a source is used under control.

    It is where its publisher gates it and the person has accepted the publisher's terms for it; medpipe then
    fetches it with that person's own credentials (`HF_TOKEN`) or reads a copy that the person has.
    """
    return source.gated and source.accept_terms


def use_warnings(source: Source) -> tuple[str, ...]:
    """What speaks against the uses that an entry names, in plain English with the fix.

    Args:
        source: an entry, with the person's choices applied.

    Returns:
        One sentence for each doubtful use; none where the genre is unknown, as nothing can be said of it.
    """
    if source.genre is None:
        return ()
    principle = PRINCIPLES[source.genre]
    if principle.controlled and source.uses and not is_under_control(source):
        return (_not_under_control(source),)
    texts = f"{source.genre.replace('_', ' ')} texts"
    allowed = ", ".join(principle.allowed)
    return tuple(
        f"{source.id}: '{use}' is a doubtful use of {texts}, as {principle.warned[use]}; "
        f"take '{use}' out of its 'uses' ({texts} are for {allowed})"
        for use in source.uses
        if use in principle.warned
    )


def _not_under_control(source: Source) -> str:
    if source.status in (Status.LISTED, Status.EXCLUDED):
        fix = f"nothing is to be done, as it is {source.status} and never fetched"
    elif source.gated:
        fix = f"accept the publisher's terms, then `{enable_command(source)}`"
    else:
        fix = "write 'gated: true' into its entry, and 'accept_terms: true' once you have accepted the terms"
    return (
        f"{source.id}: clinical records are used for {', '.join(source.uses)} only under control, that is "
        f"gated and with accepted terms; {fix}"
    )
