"""The words of the catalog and of every table: kinds, domains, languages, tiers, splits.

The tables' columns stand in `schemas`, which is imported on first use only: it brings a library that the
code location, which knows the words alone, should not wait for.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from medpipe.records.schemas import Provenance


class Kind(StrEnum):
    """What a record is."""

    DOCUMENT = "document"
    CONVERSATION = "conversation"
    PREFERENCE = "preference"
    EXAM_ITEM = "exam_item"


class Domain(StrEnum):
    """What a text is about or where it comes from; plans weigh by it."""

    GENERAL = "general"
    ENCYCLOPEDIA = "encyclopedia"
    TEXTBOOK = "textbook"
    LITERATURE = "literature"
    GUIDELINE = "guideline"
    DISEASE = "disease"
    DIALOGUE = "dialogue"
    TCM = "tcm"


class Language(StrEnum):
    """Language of a record."""

    ZH = "zh"
    EN = "en"
    OTHER = "other"


class Tier(StrEnum):
    """Quality tier that named filters set."""

    RAW = "raw"
    REFINED = "refined"


class Split(StrEnum):
    """On which side of the hold-out a record stands; before curation, where its publisher put it."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


TURN = pl.Struct({"role": pl.String, "content": pl.String})
"""One turn of a conversation; `role` is `user`, `assistant`, or, where a tool is used, `function` (the
assistant's call) or `observation` (what came back)."""


def record_schema(kind: Kind) -> type[Provenance]:
    """The table schema of a kind."""
    from medpipe.records.schemas import SCHEMAS

    return SCHEMAS[kind]


COLUMN_NOTES = {
    "id": "128-bit hash of source, kind and canonical record",
    "source": "id of the source in the catalog",
    "revision": "commit, or digest of the folder, that it was read from",
    "path": "file within the source's snapshot",
    "row": "0-based index of the record in that file",
    "part": "several records may come of one row",
    "content_key": "the same for the same content, however a publisher wrapped it",
    "split": "the side of the hold-out: train, validation or test",
    "lang": "language: zh, en or other",
    "domain": "what the text is about or where it comes from; plans weigh by it",
    "text": "the document",
    "tier": "raw, or refined where the filters for refined text let it pass",
    "system": "instruction before the first turn",
    "turns": "who said what, in order",
    "prompt": "the turns that both answers follow",
    "chosen": "the better answer",
    "rejected": "the worse answer",
    "question": "the question of an exam item",
    "options": "the answers to choose from",
    "answers": "labels of the right options",
    "subject": "what the exam item is about",
}
"""What is in a column, by its name, in every table of records."""


@lru_cache(maxsize=len(Kind))
def record_columns(kind: Kind) -> pl.Schema:
    """The Polars types of a kind's columns, in order."""
    return record_schema(kind).create_empty().schema


def content_columns(kind: Kind) -> list[str]:
    """The columns that hold a kind's content, without provenance."""
    from medpipe.records.schemas import Provenance

    provenance = set(Provenance.column_names())
    return [name for name in record_schema(kind).column_names() if name not in provenance]


def identity_columns(kind: Kind) -> list[str]:
    """The content columns that a record's id is a hash of: all but the tier, a judgement about the record."""
    return [name for name in content_columns(kind) if name != "tier"]


@lru_cache(maxsize=1)
def rejected_columns() -> pl.Schema:
    """The Polars types of the columns of rejected rows, in order."""
    from medpipe.records.schemas import Rejected

    return Rejected.create_empty().schema
