"""The four record kinds, and rejected rows, as typed table schemas.

Every kind starts with the provenance columns; `id` and `content_key` are 32 hex characters.
"""

from __future__ import annotations

import dataframely as dy

from medpipe.records.kinds import Domain, Kind, Language, Split, Tier

_HASH = r"^[0-9a-f]{32}$"


class Provenance(dy.Schema):
    """Where a record comes from: enough to find its row again."""

    id = dy.String(nullable=False, regex=_HASH)
    """128-bit hash of (source, kind, canonical record)."""
    source = dy.String(nullable=False)
    revision = dy.String(nullable=False)
    path = dy.String(nullable=False)
    """File within the snapshot."""
    row = dy.Int64(nullable=False, min=0)
    """0-based record index in that file."""
    part = dy.Int32(nullable=False, min=0)
    """Several records may come of one row."""
    content_key = dy.String(nullable=False, regex=_HASH)
    split = dy.Enum([split.value for split in Split], nullable=False)
    lang = dy.Enum([language.value for language in Language], nullable=False)
    domain = dy.Enum([domain.value for domain in Domain], nullable=False)


class Document(Provenance):
    """Text for pretraining."""

    text = dy.String(nullable=False, min_length=1)
    tier = dy.Enum([tier.value for tier in Tier], nullable=False)


class Conversation(Provenance):
    """Turns for supervised fine-tuning."""

    system = dy.String(nullable=True)
    turns = dy.List(dy.Struct({"role": dy.String(), "content": dy.String()}), nullable=False, min_length=1)


class Preference(Provenance):
    """A prompt with a better and a worse answer."""

    system = dy.String(nullable=True)
    prompt = dy.List(dy.Struct({"role": dy.String(), "content": dy.String()}), nullable=False, min_length=1)
    chosen = dy.String(nullable=False, min_length=1)
    rejected = dy.String(nullable=False, min_length=1)


class ExamItem(Provenance):
    """A held-out question with options and its right answers."""

    question = dy.String(nullable=False, min_length=1)
    options = dy.List(dy.Struct({"label": dy.String(), "text": dy.String()}), nullable=False)
    answers = dy.List(dy.String(), nullable=False, min_length=1)
    subject = dy.String(nullable=True)


SCHEMAS: dict[Kind, type[Provenance]] = {
    Kind.DOCUMENT: Document,
    Kind.CONVERSATION: Conversation,
    Kind.PREFERENCE: Preference,
    Kind.EXAM_ITEM: ExamItem,
}


class Rejected(dy.Schema):
    """A published row that gave no record, and why."""

    source = dy.String(nullable=False)
    revision = dy.String(nullable=False)
    path = dy.String(nullable=False)
    row = dy.Int64(nullable=False)
    reason = dy.String(nullable=False)
    """Short snake_case name of the rule."""
    detail = dy.String(nullable=True)
    """What exactly was wrong."""
    raw = dy.String(nullable=True)
    """The row as published, cut to 2,000 characters."""
