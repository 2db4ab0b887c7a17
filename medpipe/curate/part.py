"""What is known of one source's part of a data set of the corpus, and which parts lie there already."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpipe.curate.findings import CORPUS
from medpipe.curate.purposes import Purpose
from medpipe.lake.dataset import Dataset, whole_datasets
from medpipe.lake.layout import Lake

_ABOUT_SOURCE = {
    "records",
    "kept",
    "rejected_by_reason",
    "content_digest",
    "text_bytes",
    "repeated_passages",
}


class Part(BaseModel):
    """What is known of one source's part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    """Digest of all that the part depends on; equal keys make equal parts."""
    records: int
    kept: int
    rejected_by_reason: dict[str, int]
    content_digest: dict[str, str]
    """Of the kept records of each domain, without where they came from."""
    text_bytes: dict[str, int] | None
    """Of the documents of each domain."""
    repeated_passages: dict[str, Any] | None
    """See `PassageRemoval.facts`; None where none were looked for."""
    by_language: dict[str, int] = Field(default={})
    by_domain: dict[str, dict[str, int]]
    """Kept records of each domain by split."""
    by_tier: dict[str, int] | None
    privacy: dict[str, int]
    """Replacements by rule."""
    lengths: dict[str, int] | None = Field(default=None)
    """Kept documents by length, see `length_class`; None for other kinds, and in data sets from before."""
    digest: str
    """Of the kept records."""
    rejected_digest: str

    def about_source(self) -> dict[str, Any]:
        """What a data set's facts say of the source."""
        facts = self.model_dump(include=_ABOUT_SOURCE, exclude_none=True)
        return facts | {"rejected": self.records - self.kept}

    def about_part(self) -> dict[str, Any]:
        """The other facts."""
        return self.model_dump(exclude=_ABOUT_SOURCE)

    @classmethod
    def from_facts(cls, facts: dict[str, Any], source_id: str) -> Part:
        """What `about_source` and `about_part` said."""
        about = {k: v for k, v in facts["by_source"][source_id].items() if k != "rejected"}
        absent = {"text_bytes": None, "repeated_passages": None}
        return cls.model_validate(absent | about | facts["parts"][source_id])


class Earlier(NamedTuple):
    """A part that lies in an earlier data set."""

    dataset: Dataset
    part: Part


def find_parts(lake: Lake, purpose: Purpose) -> dict[str, Earlier]:
    """The parts of all whole data sets of a purpose, by key.

    Code of other versions may have noted none, or other facts of them; such parts are made anew.
    """
    found: dict[str, Earlier] = {}
    for dataset in whole_datasets(lake, CORPUS, purpose.value):
        facts = dataset.manifest.facts
        for source_id in facts.get("parts", {}):
            try:
                part = Part.from_facts(facts, source_id)
            except (ValidationError, KeyError):
                continue
            found.setdefault(part.key, Earlier(dataset, part))
    return found
