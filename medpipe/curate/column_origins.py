"""Which columns of a source's records each column of a data set of the corpus is made of."""

from __future__ import annotations

from medpipe.catalog.source import Source
from medpipe.curate.purposes import Purpose
from medpipe.records.kinds import Kind

_CONTENT = {
    Kind.DOCUMENT: ("text",),
    Kind.CONVERSATION: ("system", "turns"),
    Kind.PREFERENCE: ("system", "prompt", "chosen", "rejected"),
    Kind.EXAM_ITEM: ("question", "options", "answers"),
}


def column_origins(purpose: Purpose, source: Source) -> dict[str, tuple[str, ...]]:
    """The columns of `normalized/<source>` behind each column of `corpus/<purpose>`.

    A conversation becomes the text of a document by the source's template; filters judge the tier by the
    content; the side of the hold-out follows from where the publisher put a record and from what is equal or
    similar to it. All other columns are taken over; personal data is replaced in those that hold content.
    """
    content = _CONTENT[source.record_kind]
    origins: dict[str, tuple[str, ...]] = {name: (name,) for name in purpose.schema.names()}
    if purpose is Purpose.DOCUMENTS:
        origins |= {"text": content, "tier": content}
    if purpose is not Purpose.EXAMS:
        origins["split"] = ("split", "content_key", *content)
    return origins
