"""One catalog entry: everything that is known about a corpus before a byte of it is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from medpipe.catalog.layouts import KINDS, Expression, Layout
from medpipe.catalog.slug import slug
from medpipe.records.kinds import Domain, Kind, Language, Split

BROKEN_RULES = "broken_rules"
"""Type of the validation error whose context lists under `broken` every rule across fields that an entry
breaks, each as (location, message)."""


class Use(StrEnum):
    """What a source may be used for."""

    PRETRAINING = "pretraining"
    FINETUNING = "finetuning"
    REWARD = "reward"
    EVALUATION = "evaluation"


class FileFormat(StrEnum):
    """How records lie in a file; `zip` and `gz` around any of them is found by suffix."""

    AUTO = "auto"
    """By suffix and content; `.txt` is `text_lines` unless its first line is a JSON object."""
    JSONL = "jsonl"
    JSON_ARRAY = "json_array"
    JSON_OBJECT = "json_object"
    """An object whose members are the records, or that holds them further inside."""
    PYTHON_LITERALS = "python_literals"
    """Lines that are Python literals; a list counts as that many records."""
    CSV = "csv"
    TSV = "tsv"
    TEXT_LINES = "text_lines"
    """One record a line."""
    TEXT_BLOCKS = "text_blocks"
    """Records with blank lines between them."""
    TEXT_RECORDS = "text_records"
    """Records that each start with a line that matches `record_start`."""
    TEXT_DOCUMENT = "text_document"
    """One record a file."""
    PARQUET = "parquet"
    ARROW = "arrow"
    EXCEL = "excel"
    XML = "xml"
    """JATS articles (`.nxml` of PMC) and PubMed citations; one record an article."""


class Genre(StrEnum):
    """What sort of text a source is; `principles` says what each may be used for."""

    LITERATURE = "literature"
    ENCYCLOPEDIA = "encyclopedia"
    TEXTBOOK = "textbook"
    GUIDELINE = "guideline"
    KNOWLEDGE_BASE = "knowledge_base"
    DIALOGUE = "dialogue"
    INSTRUCTION = "instruction"
    PREFERENCE = "preference"
    EXAM = "exam"
    EXTRACTION = "extraction"
    CLINICAL_RECORD = "clinical_record"
    WEB = "web"
    NEWS = "news"
    LAW = "law"


class Status(StrEnum):
    """Whether medpipe can have a source's files."""

    AVAILABLE = "available"
    """From the hub or a local folder."""
    MANUAL = "manual"
    """Fetched by a person from `page`, then named with `medpipe sources enable ID --folder DIR`."""
    LISTED = "listed"
    """Shown, never fetched: nobody could verify its files."""
    EXCLUDED = "excluded"
    """Shown, never fetched, for the reason in `status_note`."""


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


class Lookup(_Entry):
    """A second table that completes each row, by key: question texts that lie apart from their answers."""

    path: str
    """Path or glob pattern of the table's files within the repository; small enough to hold in memory."""
    member: str | None = None
    format: FileFormat = FileFormat.AUTO
    key: str
    """Field that both tables have."""
    take: tuple[str, ...] = Field(min_length=1)
    """Fields taken over into the row."""
    prefix: str = ""
    """Put before the names of the fields taken over, where the row has fields of the same name."""


class SourceFile(_Entry):
    """Files of a source that share format, domain and split."""

    path: str = "**"
    """Path or glob pattern within the repository."""
    member: str | None = None
    """Glob pattern of the files inside a zip archive; all of them if unset."""
    format: FileFormat = FileFormat.AUTO
    domain: Domain
    split: Split = Split.TRAIN
    """Where the publisher put these rows; validation and test rows are never trained on."""
    language: Language | None = None
    """Overrides the source's language."""
    subset: str | None = None
    """Published subset (configuration) of a data set that the `datasets` library resolves to files."""
    published_split: str | None = None
    """Published name of a split, resolved the same way."""
    records: str | None = None
    """For `json_object`: the member that holds the list or the object of records, dotted for deeper ones;
    if unset, each member of the object is a record. The member's name is the record's field `key`. `.` stands
    for objects that are records themselves, though they span lines."""
    columns: tuple[str, ...] = ()
    """Column names of a table without a header row; or, for `text_blocks`, of a block's lines, the last one
    with all that are left."""
    record_start: Expression | None = None
    """For `text_records`: regular expression of the line that starts a record."""
    keep_where: dict[str, tuple[str, ...]] = {}
    """Only rows whose field has one of these values are kept; the others are rejected as `not_wanted`."""
    lookup: Lookup | None = None
    max_rows: int | None = Field(default=None, ge=1)
    """Only so many rows from the start of each file are read."""
    sha1: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    """SHA-1 of the file, checked when it is fetched."""
    published_rows: int | None = Field(default=None, ge=0)
    """Number of records as somebody counted them; compared by `medpipe sources try`."""
    note: str | None = None
    """A quirk that a reader of the table should know, such as why a count differs."""


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
    page: str | None = Field(default=None, pattern=r"^https://[\w.-]+(/[^\s<>\"]*)?$")
    """Where a person reads about the data set or gets it; the hub's page if unset."""
    revision: str = Field(default="main", pattern=r"^[A-Za-z0-9][\w./-]*$")
    """Branch, tag or commit; a commit is frozen."""
    files: tuple[SourceFile, ...] = ()
    kind: Kind | None = None
    """What its records become; the layout's own kind if unset, null only where the layout is unknown."""
    layout: Layout | None = None
    template: Template | None = None
    """A for a single question and C for more turns if unset."""
    simplify: bool = False
    """Whether traditional Chinese characters are converted to simplified ones."""
    language: Language
    genre: Genre | None = None
    licence: Licence
    gated: bool = False
    size_bytes: int | None = None
    """Size of the files as published; null where unknown."""
    published_rows: int | None = None
    """Number of records as the publisher states it; null where unknown."""
    uses: tuple[Use, ...] = ()
    derived_from: tuple[str, ...] = ()
    """Other corpora that this one repeats, by published name."""
    verified: bool = False
    """Whether files and record shape were read in the data set itself."""
    status: Status = Status.AVAILABLE
    status_note: str | None = None
    """Why it is not available, or what a person should know before using it."""
    enabled: bool | None = None
    """Whether it is an asset without anybody asking; if unset, only a person's own entry is."""
    accept_terms: bool = False
    accept_size: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind is None and self.layout is not None:
            object.__setattr__(self, "kind", KINDS[type(self.layout)][0])
        if broken := tuple(_broken_rules(self)):
            message = "; ".join(rule for _, rule in broken)
            raise PydanticCustomError(BROKEN_RULES, "{message}", {"message": message, "broken": broken})
        return self

    @property
    def name(self) -> str:
        """Its id, with the title where the id has a hash for what is lost of a title that is not ASCII."""
        is_hashed = not self.title.isascii() and self.id == slug(self.title)
        return f"{self.id} ({self.title})" if is_hashed else self.id

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains of its files, each once, in the order of `Domain`."""
        present = {file.domain for file in self.files}
        return tuple(domain for domain in Domain if domain in present)

    @property
    def record_kind(self) -> Kind:
        """What its records become.

        Raises:
            ValueError: its layout is unknown, so it has no records.
        """
        if self.kind is None:
            raise ValueError(f"{self.id} has no layout: it is only {self.status}")
        return self.kind

    @property
    def record_layout(self) -> Layout:
        """How its records are laid out.

        Raises:
            ValueError: its layout is unknown.
        """
        if self.layout is None:
            raise ValueError(f"{self.id} has no layout: it is only {self.status}")
        return self.layout

    @property
    def feeds_pretraining(self) -> bool:
        """Whether its records become pretraining documents."""
        return Use.PRETRAINING in self.uses and self.kind in _KINDS_OF_USE[Use.PRETRAINING]


_KINDS_OF_USE = {Use.PRETRAINING: (Kind.DOCUMENT, Kind.CONVERSATION), Use.REWARD: (Kind.PREFERENCE,)}
"""Kinds of record that a use needs, where it cannot take any."""


def _broken_rules(source: Source) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every rule across fields that an entry breaks: where, and what is wrong with the fix."""
    status, layout = source.status, source.layout
    if source.repository is not None and source.folder is not None:
        yield ("folder",), "give either 'repository' (owner/name on the hub) or 'folder' (a local folder)"
    if status is Status.AVAILABLE and source.repository is None and source.folder is None:
        yield (), "give 'repository' (owner/name on the hub) or 'folder' (a local folder)"
    if status is Status.MANUAL and source.page is None:
        yield (), "a source that a person fetches needs the 'page' where it lies"
    if status is Status.EXCLUDED and source.status_note is None:
        yield ("status",), "say in 'status_note' why the source is excluded"
    missing = [f"'{name}'" for name in ("files", "layout", "uses") if not getattr(source, name)]
    if status in (Status.AVAILABLE, Status.MANUAL) and missing:
        which = " and ".join(missing)
        yield (), f"{which} missing: only a source that is 'listed' or 'excluded' can do without"
    if layout is not None and source.kind not in (possible := KINDS[type(layout)]):
        expected = " or ".join(f"'{kind}'" for kind in possible)
        yield ("kind",), f"layout '{layout.layout}' gives records of kind {expected}, not '{source.kind}'"
    for number, use in enumerate(source.uses):
        kinds = _KINDS_OF_USE.get(use, tuple(Kind))
        if source.kind is not None and source.kind not in kinds:
            expected = " or ".join(f"'{kind}'" for kind in kinds)
            yield (
                ("uses", number),
                f"'{use}' needs records of kind {expected}, not '{source.kind}'; remove it",
            )
    for number, file in enumerate(source.files):
        if file.path.startswith("/") or ".." in Path(file.path).parts:
            yield ("files", number, "path"), f"file path {file.path!r} must stay within the repository"
        if file.format is FileFormat.TEXT_RECORDS and file.record_start is None:
            message = "'text_records' needs 'record_start', an expression for the line that starts a record"
            yield ("files", number, "format"), message
