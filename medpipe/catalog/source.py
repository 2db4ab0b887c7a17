"""One catalog entry: everything that is known about a corpus before a byte of it is fetched."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medpipe.catalog.layouts import (
    Layout,
    PreferenceLayout,
    QuestionAnswerLayout,
    TurnsLayout,
)
from medpipe.records.kinds import Domain, Kind, Language, Split


class Use(StrEnum):
    """What a source may be used for."""

    PRETRAINING = "pretraining"
    FINETUNING = "finetuning"
    REWARD = "reward"
    EVALUATION = "evaluation"


class FileFormat(StrEnum):
    """How records lie in a file."""

    AUTO = "auto"
    """By content: JSONL or a JSON array for `.json`, `.jsonl` and no suffix; `text_lines` for `.txt`."""
    JSONL = "jsonl"
    JSON_ARRAY = "json_array"
    TEXT_LINES = "text_lines"
    """One record a line."""
    TEXT_BLOCKS = "text_blocks"
    """Records with blank lines between them."""
    TEXT_DOCUMENT = "text_document"
    """One record a file."""


class Template(StrEnum):
    """How a conversation is written as one text for pretraining."""

    A = "A"
    """`[QUESTION] … [ANSWER] …`"""
    B = "B"
    """`Instruction: …` and `Output: …` on two lines."""
    C = "C"
    """`[User] …` and `[Assistant] …`, a line each turn."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFile(_Entry):
    """Files of a source that share format, domain and split."""

    path: str
    """Path or glob pattern within the repository."""
    format: FileFormat = FileFormat.AUTO
    domain: Domain
    split: Split = Split.TRAIN
    """Where the publisher put these rows; validation and test rows are never trained on."""
    language: Language | None = None
    """Overrides the source's language."""


class Licence(_Entry):
    """The licence as somebody states it; no legal advice."""

    name: str | None = None
    """SPDX identifier or the publisher's own words; null where nothing is stated."""
    verified: bool = False
    """Whether the statement was read at the publisher's own page."""
    note: str | None = None


class Source(_Entry):
    """A corpus, or a subset of one that is used in its own way."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    """The published name."""
    description: str
    repository: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    """`owner/name` on the hub."""
    folder: Path | None = None
    """Local folder instead of a repository; relative to the catalog file that names it."""
    revision: str = Field(default="main", pattern=r"^[A-Za-z0-9][\w./-]*$")
    """Branch, tag or commit; a commit is frozen."""
    files: tuple[SourceFile, ...] = Field(min_length=1)
    kind: Kind
    layout: Layout
    template: Template | None = None
    """A for a single question and C for more turns if unset."""
    language: Language
    licence: Licence
    gated: bool = False
    size_bytes: int | None = None
    """Size of the files as published; null where unknown."""
    uses: tuple[Use, ...] = Field(min_length=1)
    derived_from: tuple[str, ...] = ()
    """Other corpora that this one repeats, by published name."""
    verified: bool = False
    """Whether files and record shape were read in the data set itself."""
    status: Literal["available", "listed"] = "available"
    """`listed`: shown, never fetched."""
    enabled: bool | None = None
    """Whether it is an asset without anybody asking; if unset, only a person's own entry is."""
    accept_terms: bool = False
    accept_size: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.repository is None) == (self.folder is None):
            raise ValueError("give either 'repository' (owner/name on the hub) or 'folder' (a local folder)")
        conversational = isinstance(self.layout, QuestionAnswerLayout | TurnsLayout)
        expected = {
            True: Kind.CONVERSATION,
            False: Kind.PREFERENCE if isinstance(self.layout, PreferenceLayout) else Kind.DOCUMENT,
        }[conversational]
        if self.kind is not expected:
            raise ValueError(
                f"layout '{self.layout.layout}' gives records of kind '{expected}', not '{self.kind}'"
            )
        for file in self.files:
            if file.path.startswith("/") or ".." in Path(file.path).parts:
                raise ValueError(f"file path {file.path!r} must stay within the repository")
        return self

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains of its files, each once, in the order of `Domain`."""
        present = {file.domain for file in self.files}
        return tuple(domain for domain in Domain if domain in present)

    @property
    def feeds_pretraining(self) -> bool:
        """Whether its records become pretraining documents."""
        return Use.PRETRAINING in self.uses and self.kind in (Kind.DOCUMENT, Kind.CONVERSATION)
